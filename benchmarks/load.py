"""The virtual cell at 30 images a second for ten minutes over ROS 2, into both nodes.

python -m benchmarks.load [--fast]
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from scipy.spatial.transform import Rotation

from benchmarks.arguments import parse_run
from benchmarks.measure import cpu_seconds, resident_mib
from benchmarks.sets import LOAD, LoadSet
from benchmarks.tables import write_table
from us_recon.io.wire import MM_PER_M
from us_recon.ros.processes import Heard, NodeProcess, Watcher, running_node
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.truth import MRI_FILE, write_truth

DOMAIN = 86
SAMPLE_S = 5.0
START_TIMEOUT_S = 300.0
Status = Callable[[Heard], Any]

NOTE = """
The virtual cell ({scene}, {probe} probe, 192 beams x 512 samples, {rate:g} images and 100 poses a
second) plays for {seconds:g} s into mapper and registration, both with their default settings, over
DDS and on one machine: player, both nodes and the watcher share its cores. The sweep is simulated
before and played over and over. `rate`: images that arrived per second; `lost`: sent by then and
not arrived, which best-effort images may be; `dropped`: arrived, but not used; `backlog`: most
images that waited; `latency`: from an image's stamp until it is used (the player's own delay
included). CPU: share of one core. Memory: resident, at the end of that part.
"""
NODES: dict[str, Status] = {
    "occupancy_mapper": lambda heard: heard.mapping,
    "mri_registration": lambda heard: heard.registration,
}


@dataclass
class Part:
    """What was seen of one process during one part of the run."""

    process: NodeProcess
    began_s: float
    cpu_s: float
    received: int = 0
    used: int = 0
    dropped: int = 0
    backlog: list[int] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    worst_s: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, process: NodeProcess, heard: Heard) -> "Part":
        """Begin to count."""
        part = cls(process, time.monotonic(), cpu_seconds(process.process.pid))
        if status := part.status(heard):
            part.received, part.used = status.frames_received, status.frames_used
            part.dropped = status.frames_dropped
        return part

    def status(self, heard: Heard) -> Any:
        """Return the newest status of this process, None where it has none."""
        return NODES[self.process.name](heard) if self.process.name in NODES else None

    def sample(self, heard: Heard) -> None:
        """Note what the newest status says."""
        if status := self.status(heard):
            self.backlog.append(int(status.backlog))
            self.latency_s.append(float(status.latency_median))
            self.worst_s.append(float(status.latency_max))


def main() -> None:
    """Load both nodes and write the table."""
    run = parse_run(__doc__)
    load = replace(LOAD, duration_s=LOAD.fast_s) if run.fast else LOAD
    note = NOTE.format(
        scene=load.scene, probe=load.probe, rate=load.image_rate_hz, seconds=load.duration_s
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = load_nodes(load, Path(folder))
    write_table(load.name, rows, note, run.results)


def load_nodes(load: LoadSet, work: Path) -> list[dict[str, object]]:
    """Run the cell into both nodes and return a row a minute and one for all, of each process."""
    cell = cell_parameters(load, readers=len(NODES))
    parameters = registration_parameters(load, work)
    watcher = Watcher(DOMAIN)
    try:
        with (
            running_node("occupancy_mapper", {"status_period_s": 1.0}, work, DOMAIN) as mapper,
            running_node("mri_registration", parameters, work, DOMAIN) as registration,
            running_node("scanning_cell", cell, work, DOMAIN) as player,
        ):
            return watch(watcher, [mapper, registration, player], load)
    finally:
        watcher.close()


def cell_parameters(load: LoadSet, readers: int) -> dict[str, Any]:
    """Return the parameters of the cell that plays the set over and over."""
    return {
        "scene": load.scene,
        "probe": load.probe,
        "seed": load.seed,
        "image_rate_hz": load.image_rate_hz,
        "loop": True,
        "prepare": True,
        "wait_for_subscribers": readers,
    }


def registration_parameters(load: LoadSet, folder: Path) -> dict[str, Any]:
    """Write the patient's MRI and return the parameters that start its registration nearby."""
    settings = CellSettings(image_rate_hz=load.image_rate_hz)
    cell = make_cell(load.scene, load.probe, load.seed, settings=settings)
    write_truth(cell, folder / "truth")
    T = cell.initial_T_world_mri(5.0, 5.0)
    return {
        "status_period_s": 1.0,
        "mri_file": str(folder / "truth" / MRI_FILE),
        "initial_from": "parameters",
        "initial_translation_m": (T[:3, 3] / MM_PER_M).tolist(),
        "initial_rotation_rpy_rad": Rotation.from_matrix(T[:3, :3]).as_euler("xyz").tolist(),
    }


def watch(watcher: Watcher, processes: list[NodeProcess], load: LoadSet) -> list[dict[str, object]]:
    """Follow all processes for the set's time."""

    def running(heard: Heard) -> bool:
        found = [NODES[process.name](heard) for process in processes if process.name in NODES]
        return all(status is not None and status.frames_received > 0 for status in found)

    watcher.watch(running, processes, lambda _: None, START_TIMEOUT_S)
    began_s = time.monotonic()
    ends_s = [min(60.0 * (n + 1), load.duration_s) for n in range(math.ceil(load.duration_s / 60))]
    whole = start_parts(watcher, processes)
    rows: list[dict[str, object]] = []
    for end_s in ends_s:
        minute = start_parts(watcher, processes)
        while (left_s := began_s + end_s - time.monotonic()) > 0:
            wait(watcher, processes, min(SAMPLE_S, left_s))
            for part in (*minute, *whole):
                part.sample(watcher.heard)
        rows += [row(part, f"to {end_s:.0f} s", watcher.heard, load) for part in minute]
    return rows + [row(part, "all", watcher.heard, load) for part in whole]


def wait(watcher: Watcher, processes: list[NodeProcess], seconds: float) -> None:
    """Listen for a while."""
    until = time.monotonic() + seconds
    watcher.watch(lambda _: time.monotonic() >= until, processes, lambda _: None, seconds + 30.0)


def start_parts(watcher: Watcher, processes: list[NodeProcess]) -> list[Part]:
    """Begin to count, for every process."""
    return [Part.start(process, watcher.heard) for process in processes]


def row(part: Part, when: str, heard: Heard, load: LoadSet) -> dict[str, object]:
    """Return one line of the table; the player has no frames of its own."""
    seconds = time.monotonic() - part.began_s
    pid = part.process.process.pid
    status = part.status(heard)
    received = status.frames_received - part.received if status else None
    return {
        "process": part.process.name,
        "part": when,
        "rate Hz": received / seconds if received is not None else "-",
        "lost": max(0, round(load.image_rate_hz * seconds) - received)
        if received is not None
        else "-",
        "used": status.frames_used - part.used if status else "-",
        "dropped": status.frames_dropped - part.dropped if status else "-",
        "backlog": max(part.backlog) if status else "-",
        "latency ms": 1e3 * median(part.latency_s) if status else "-",
        "worst ms": 1e3 * max(part.worst_s) if status else "-",
        "CPU": f"{(cpu_seconds(pid) - part.cpu_s) / seconds:.0%}",
        "MiB": resident_mib(pid),
    }


if __name__ == "__main__":
    main()
