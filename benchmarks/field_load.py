"""The occupancy field fitted live for ten minutes at 30 images a second, over ROS 2.

python -m benchmarks.field_load [--fast]
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.arguments import parse_run
from benchmarks.load import DOMAIN, cell_parameters, watch
from benchmarks.sets import LOAD, LoadSet
from benchmarks.tables import write_table
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.mapper import OccupancyMapper
from us_recon.pipeline.mapping import MAP_FILE
from us_recon.ros.processes import Watcher, running_node

STEPS, LABEL_EVERY = 4, 5

NOTE = """
The virtual cell of `load` ({scene}, {probe} probe, 192 beams x 512 samples, {rate:g} images a
second, a label on every {every}th) plays for {seconds:g} s into the mapper alone, with
`method:=field` and otherwise its defaults: {steps} steps a frame, fewer while frames wait, in a
thread of their own; the mesh of 1 mm once a second. Over DDS and on one machine: player, mapper and
watcher share its cores. Columns as in `load`.

Of the map that the mapper wrote in the end: {taken:.2f} steps for each frame{kept}.
"""


def main() -> None:
    """Load the mapper and write the table."""
    run = parse_run(__doc__)
    load = replace(LOAD, duration_s=LOAD.fast_s) if run.fast else LOAD
    with tempfile.TemporaryDirectory() as folder:
        rows = load_mapper(load, Path(folder))
        mapper = OccupancyMapper.load(Path(folder) / "out" / MAP_FILE)
    field = mapper.map
    assert isinstance(field, FieldMap) and field.replay is not None
    note = NOTE.format(
        scene=load.scene,
        probe=load.probe,
        rate=load.image_rate_hz,
        every=LABEL_EVERY,
        seconds=load.duration_s,
        steps=STEPS,
        taken=field.fit.steps / mapper.frames,
        kept=f", {field.replay.count} of {mapper.frames} frames held for replay",
    )
    write_table("field_load", rows, note, run.results)


def load_mapper(load: LoadSet, work: Path) -> list[dict[str, object]]:
    """Run the cell into a mapper that fits a field; it writes its map when it ends."""
    parameters = {
        "status_period_s": 1.0,
        "method": "field",
        "steps_per_frame": STEPS,
        "output_dir": str(work / "out"),
    }
    cell = cell_parameters(load, readers=1) | {"label_every": LABEL_EVERY}
    watcher = Watcher(DOMAIN)
    try:
        with (
            running_node("occupancy_mapper", parameters, work, DOMAIN) as mapper,
            running_node("scanning_cell", cell, work, DOMAIN) as player,
        ):
            return watch(watcher, [mapper, player], load)
    finally:
        watcher.close()


if __name__ == "__main__":
    main()
