"""What the occupancy field costs for each frame, and what its steps are worth.

python -m benchmarks.field_speed [--fast] [--dev]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arguments import parse_run
from benchmarks.measure import measured
from benchmarks.sets import SPINE_SETS, MappingCase
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.pipeline.threads import use_one_thread

SET = "spine-k5"
STEPS = (1, 2, 4, 8)
FIRST_FRAMES = 10  # take more steps than the others
WARM_FRAMES = 3  # loops are compiled at their first call

NOTE = """
Set {name}, seed {seed}: {frames} frames of {rows} x {columns} pixels (192 beams, 256 samples), a
label on every 5th. CPU of one thread. `integrate`: everything but the steps, with the bone
detector; `steps`: all steps of a frame; `mesh`: the complete mesh of 1 mm after the last frame,
with every second beam of all frames looked at anew; `peak`: above what was resident before.
`clock`: time for a frame where one thread takes the steps and another does the rest, as the mapper
does it, and `frames` in a second that this makes. `Chamfer`, `HD95`: as in `spine_k5`.
"""


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds per frame, and for one mesh."""

    integrate_ms: float
    steps_ms: float
    mesh_ms: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Map one patient with several numbers of steps per frame and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    one = SPINE_SETS[SET]
    seed = run.seeds(one)[0]
    case = one.case(seed)
    truth = TrueSurface(case.truth, case.views)
    mapped(case.frames[:WARM_FRAMES], 1)
    rows = [row(case, truth, steps) for steps in (STEPS[2:3] if run.fast else STEPS)]
    size = case.frames[0].image.shape
    note = NOTE.format(name=SET, seed=seed, frames=len(case.frames), rows=size[0], columns=size[1])
    write_table("field_speed", rows, note, run.results)


def row(case: MappingCase, truth: TrueSurface, steps: int) -> dict[str, object]:
    """Return cost and quality with a number of steps per frame."""
    result = measured(lambda: mapped(case.frames, steps))
    mapper, cost = result.value
    figures = distances(truth.scores(mapper.snapshot().mesh)[0])
    clock_ms = pipelined_ms(case.frames, steps)
    return {
        "steps / frame": steps,
        "integrate ms": cost.integrate_ms,
        "steps ms": cost.steps_ms,
        "clock ms": clock_ms,
        "frames / s": 1e3 / clock_ms,
        "mesh ms": cost.mesh_ms,
        "peak MiB": result.peak_mib,
        "Chamfer mm": figures["Chamfer mm"],
        "HD95 mm": figures["HD95 mm"],
    }


def mapped(frames: Sequence[TrackedFrame], steps: int) -> tuple[OccupancyMapper, Cost]:
    """Return the map of some frames and what it cost."""
    mapper = OccupancyMapper(MapperSettings(method="field"))
    integrate_s = steps_s = 0.0
    for frame in frames:
        start = time.process_time()
        mapper.integrate(frame, steps=0)
        middle = time.process_time()
        mapper.step(steps)
        integrate_s, steps_s = integrate_s + middle - start, steps_s + time.process_time() - middle
    start = time.process_time()
    mapper.snapshot()
    mesh_s = time.process_time() - start
    count = max(len(frames), 1)
    return mapper, Cost(1e3 * integrate_s / count, 1e3 * steps_s / count, 1e3 * mesh_s)


def pipelined_ms(frames: Sequence[TrackedFrame], steps: int) -> float:
    """Return how long a frame takes on the clock where its steps have a thread of their own."""
    mapper = OccupancyMapper(MapperSettings(method="field"))
    for frame in frames[:FIRST_FRAMES]:
        mapper.integrate(frame, steps)
    begun_s = time.monotonic()
    for frame in frames[FIRST_FRAMES:]:
        mapper.integrate(frame, steps)
    mapper.step(0)  # waits for the last ones
    return 1e3 * (time.monotonic() - begun_s) / max(len(frames) - FIRST_FRAMES, 1)


if __name__ == "__main__":
    main()
