"""What the mesh costs while scanning: only what changed done anew, beside the whole at once.

python -m benchmarks.live_mesh [--fast] [--dev]
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import KDTree

from benchmarks.arguments import parse_run
from benchmarks.sets import SPINE_SETS
from benchmarks.tables import write_table
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.field.raster import FieldRaster
from us_recon.occupancy.mapper import MapMethod, MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import without_small_parts
from us_recon.occupancy.meshing import extract_surface
from us_recon.pipeline.threads import use_one_thread

SET = "spine-k5"
BEAMS, SAMPLES = 192, 256
FRAMES_PER_UPDATE = 10  # a second of this sweep
STEPS = 12  # a frame; at 30 frames a second and 4 steps there would be as many in that second
WARM_UPDATES = 2  # loops are compiled at their first call
FAST_FRAMES = 80
TARGET_MS = 120

NOTE = """
Set {name}, seeds {seeds}: a sweep in three lanes over {seconds:.0f} s each, frames of {beams} beams
x {samples} samples, a label on every 5th, voxels of 1 mm. The mesh is brought up to date once a
second, as the node does by default, with the small parts removed. A field takes {steps} steps a
frame, as many in a second as 4 steps at 30 frames. One thread, milliseconds, median and 95th
percentile over all updates but the first {warm}. `live`: what changed is done anew; `whole`: all of
it at once, from what was seen so far; `complete`: what is saved, with every second beam of all
frames looked at anew for a field. All three are made of the same map in turn. `redone`: share of
the blocks meshed anew in a live update. `same`: updates at which live and whole are the same mesh,
bit for bit; `apart`: 95th percentile of the distance from the vertices of one to the other's, for a
field may stay as it is where it hardly moved. Under {target} ms are asked for.
"""


@dataclass
class Times:
    """Milliseconds on the clock and of the CPU, one pair per update."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def of(self, make: Callable[[], Mesh]) -> Mesh:
        """Make a mesh and note what it took."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        mesh = make()
        self.wall.append(1e3 * (time.perf_counter() - wall_s))
        self.cpu.append(1e3 * (time.process_time() - cpu_s))
        return mesh

    def columns(self, name: str) -> dict[str, object]:
        """Return median and 95th percentile without the first updates."""
        return {
            f"{name}, {kind} ms": f"{np.median(one):.0f} / {np.percentile(one, 95):.0f}"
            for kind, one in (("clock", self.wall[WARM_UPDATES:]), ("CPU", self.cpu[WARM_UPDATES:]))
        }


@dataclass
class Updates:
    """What was measured of one method."""

    live: Times = field(default_factory=Times)
    whole: Times = field(default_factory=Times)
    complete: Times = field(default_factory=Times)
    redone: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    apart_mm: list[float] = field(default_factory=list)
    triangles: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Scan some patients with every method and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    one = SPINE_SETS[SET]
    seeds = run.seeds(one)[:3]  # one patient for each kind of probe
    found = {method: Updates() for method in MapMethod}
    frames: list[TrackedFrame] = []
    for seed in seeds:
        frames = [coarser(frame) for frame in one.case(seed).frames]
        for method, updates in found.items():
            watch(frames[:FAST_FRAMES] if run.fast else frames, method, updates)
    note = NOTE.format(
        name=SET, seeds=", ".join(map(str, seeds)), beams=BEAMS, samples=SAMPLES, steps=STEPS,
        seconds=len(frames) / FRAMES_PER_UPDATE, warm=WARM_UPDATES, target=TARGET_MS,
    )  # fmt: skip
    rows = [row(method, updates) for method, updates in found.items()]
    write_table("live_mesh", rows, note, run.results)


def watch(frames: Sequence[TrackedFrame], method: MapMethod, updates: Updates) -> None:
    """Scan one patient and bring the mesh up to date now and then."""
    mapper = OccupancyMapper(MapperSettings(method=method))
    for number, frame in enumerate(frames, start=1):
        mapper.integrate(frame, steps=STEPS)
        if number % FRAMES_PER_UPDATE:
            continue
        mapper.step(0)  # waits for the steps under way, which are no part of an update
        live = updates.live.of(lambda: mapper.snapshot(complete=False).mesh)
        whole = updates.whole.of(lambda: at_once(mapper))
        complete = updates.complete.of(lambda: mapper.snapshot().mesh)
        updates.redone.append(redone(mapper))
        updates.same.append(equal(live, whole))
        updates.apart_mm.append(max(apart_mm(live, whole), apart_mm(whole, live)))
        updates.triangles = len(complete.triangles)


def row(method: MapMethod, updates: Updates) -> dict[str, object]:
    """Return one line of the table."""
    return {
        "method": str(method),
        **updates.live.columns("live"),
        **updates.whole.columns("whole"),
        **updates.complete.columns("complete"),
        "redone": f"{np.median(updates.redone[WARM_UPDATES:]):.0%}",
        "same": f"{np.mean(updates.same):.0%}",
        "apart mm": float(np.median(updates.apart_mm)),
        "triangles": updates.triangles,
    }


def coarser(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with as many beams and samples as the target is set for."""
    geometry = replace(frame.geometry, beam_count=BEAMS, sample_count=SAMPLES)
    return replace(frame, geometry=geometry)


def at_once(mapper: OccupancyMapper) -> Mesh:
    """Return the mesh of what was seen so far, all of it made anew."""
    held = mapper.map
    if not isinstance(held, FieldMap):
        mesh = held.extract_mesh()
    else:
        raster = FieldRaster(held.grid.spacing_mm)
        raster.update(held.reading(held.seen.counts))
        mesh = extract_surface(raster.arrays(), raster.spacing_mm, min_weight=0.0)
        mesh = held.shown_parts(mesh)
    return without_small_parts(mesh, mapper.settings.min_part_mm2)


def redone(mapper: OccupancyMapper) -> float:
    """Return the share of the map's blocks that the last live update meshed anew."""
    held = mapper.map
    blocks = (held.raster if isinstance(held, FieldMap) else held.grid).arrays().blocks
    return held.live.redone / max(len(blocks), 1)


def equal(one: Mesh, other: Mesh) -> bool:
    """Return whether two meshes are the same, bit for bit."""
    return np.array_equal(one.vertices_mm, other.vertices_mm) and np.array_equal(
        one.triangles, other.triangles
    )


def apart_mm(one: Mesh, other: Mesh) -> float:
    """Return the 95th percentile of the distance to the other's vertices."""
    if one.is_empty or other.is_empty:
        return 0.0 if one.is_empty and other.is_empty else float("inf")
    distance_mm, _ = KDTree(other.vertices_mm).query(one.vertices_mm)
    return float(np.percentile(distance_mm, 95))


if __name__ == "__main__":
    main()
