"""The virtual cell at 30 images a second for ten minutes over ROS 2, into each of the nodes.

python -m benchmarks.load [--fast]
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from scipy.spatial.transform import Rotation

from benchmarks.arguments import parse_run
from benchmarks.measure import cpu_seconds, resident_mib
from benchmarks.sets import LOAD, LoadSet
from benchmarks.tables import write_table
from us_recon.cli.demo import MM_PER_M
from us_recon.ros.processes import Heard, NodeProcess, Watcher, running_node
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.truth import MRI_FILE, write_truth

DOMAIN = 86
SAMPLE_S = 5.0
START_TIMEOUT_S = 120.0
Status = Callable[[Heard], Any]

NOTE = """
The virtual cell ({scene} for the mapper, brain for the registration; {probe} probe, 192 beams x 512
samples, {rate:g} images and 100 poses a second) plays for {seconds:g} s into one node with its
default settings, all over DDS and on one machine: simulator, node and watcher share its cores. The
sweep is played over and over. `rate`: images that arrived per second; `lost`: sent by then and not
arrived, which best-effort images may be; `dropped`: arrived, but not used; `backlog`: most images
that waited; `latency`: from an image's stamp until it is used (the simulator's own delay included).
CPU: share of one core. Memory: resident, at the end of that part.
"""


@dataclass
class Part:
    """What was seen during one part of the run."""

    began_s: float
    received: int
    used: int
    dropped: int
    cpu_s: dict[str, float]
    backlog: list[int] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    worst_s: list[float] = field(default_factory=list)


def main() -> None:
    """Load both nodes and write the table."""
    run = parse_run(__doc__)
    load = replace(LOAD, duration_s=LOAD.fast_s) if run.fast else LOAD
    rows = [
        *load_node("occupancy_mapper", load, lambda heard: heard.mapping),
        *load_node("mri_registration", replace(load, scene="brain"), lambda h: h.registration),
    ]
    note = NOTE.format(
        scene=load.scene, probe=load.probe, rate=load.image_rate_hz, seconds=load.duration_s
    )
    write_table(load.name, rows, note, run.results)


def load_node(name: str, load: LoadSet, status_of: Status) -> list[dict[str, object]]:
    """Run the cell into one node and return a row a minute."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        parameters = registration_parameters(load, work) if load.scene == "brain" else {}
        cell = {
            "scene": load.scene,
            "probe": load.probe,
            "seed": load.seed,
            "image_rate_hz": load.image_rate_hz,
            "loop": True,
            "wait_for_subscribers": 1,
        }
        watcher = Watcher(DOMAIN)
        try:
            with (
                running_node(name, {"status_period_s": 1.0, **parameters}, work, DOMAIN) as node,
                running_node("scanning_cell", cell, work, DOMAIN) as simulator,
            ):
                return watch(watcher, node, simulator, load, status_of)
        finally:
            watcher.close()


def registration_parameters(load: LoadSet, folder: Path) -> dict[str, Any]:
    """Write the patient's MRI and return the parameters that start its registration near by."""
    settings = CellSettings(image_rate_hz=load.image_rate_hz)
    cell = make_cell(load.scene, load.probe, load.seed, settings=settings)
    write_truth(cell, folder / "truth")
    T = cell.initial_T_world_mri(5.0, 5.0)
    return {
        "mri_file": str(folder / "truth" / MRI_FILE),
        "initial_from": "parameters",
        "initial_translation_m": (T[:3, 3] / MM_PER_M).tolist(),
        "initial_rotation_rpy_rad": Rotation.from_matrix(T[:3, :3]).as_euler("xyz").tolist(),
    }


def watch(
    watcher: Watcher, node: NodeProcess, simulator: NodeProcess, load: LoadSet, status_of: Status
) -> list[dict[str, object]]:
    """Follow both processes for the set's time and return a row a minute and one for all."""
    processes = {"node": node, "cell": simulator}

    def running(heard: Heard) -> bool:
        status = status_of(heard)
        return status is not None and status.frames_received > 0

    watcher.watch(running, [node, simulator], lambda _: None, START_TIMEOUT_S)
    began = time.monotonic()
    rows: list[dict[str, object]] = []
    parts_s = [min(60.0 * (n + 1), load.duration_s) for n in range(math.ceil(load.duration_s / 60))]
    everything = part = start_part(status_of(watcher.heard), processes, began)
    for end_s in parts_s:
        while (left_s := began + end_s - time.monotonic()) > 0:
            wait(watcher, list(processes.values()), min(SAMPLE_S, left_s))
            status = status_of(watcher.heard)
            for one in {id(part): part, id(everything): everything}.values():
                one.backlog.append(int(status.backlog))
                one.latency_s.append(float(status.latency_median))
                one.worst_s.append(float(status.latency_max))
        status = status_of(watcher.heard)
        rows.append(row(node.name, f"to {end_s:.0f} s", part, status, processes, load))
        part = start_part(status, processes, time.monotonic())
    rows.append(row(node.name, "all", everything, status, processes, load))
    return rows


def wait(watcher: Watcher, nodes: list[NodeProcess], seconds: float) -> None:
    """Listen for a while."""
    until = time.monotonic() + seconds
    watcher.watch(lambda _: time.monotonic() >= until, nodes, lambda _: None, seconds + 30.0)


def start_part(status: Any, processes: Mapping[str, NodeProcess], now_s: float) -> Part:
    """Begin to count."""
    return Part(
        now_s,
        status.frames_received,
        status.frames_used,
        status.frames_dropped,
        {name: cpu_seconds(one.process.pid) for name, one in processes.items()},
    )


def row(
    name: str,
    when: str,
    part: Part,
    status: Any,
    processes: Mapping[str, NodeProcess],
    load: LoadSet,
) -> dict[str, object]:
    """Return one line of the table."""
    seconds = time.monotonic() - part.began_s
    received = status.frames_received - part.received
    found: dict[str, object] = {
        "node": name,
        "part": when,
        "rate Hz": received / seconds,
        "lost": max(0, round(load.image_rate_hz * seconds) - received),
        "used": status.frames_used - part.used,
        "dropped": status.frames_dropped - part.dropped,
        "backlog": max(part.backlog),
        "latency ms": 1e3 * median(part.latency_s),
        "worst ms": 1e3 * max(part.worst_s),
    }
    for process, one in processes.items():
        used_s = cpu_seconds(one.process.pid) - part.cpu_s[process]
        found[f"{process} CPU"] = f"{used_s / seconds:.0%}"
        found[f"{process} MiB"] = resident_mib(one.process.pid)
    return found


if __name__ == "__main__":
    main()
