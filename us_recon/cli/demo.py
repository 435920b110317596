"""`us-recon demo`: a virtual patient is scanned, mapped and registered over ROS 2."""

import argparse
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column
from scipy.spatial.transform import Rotation

from us_recon.errors import UsReconError
from us_recon.evaluation.mesh_metrics import MeshScore, score_mesh
from us_recon.evaluation.registration_figure import overlay, panel_figure
from us_recon.evaluation.report import comparison_picture, score_rows
from us_recon.evaluation.visibility import View
from us_recon.files import atomic_path
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.wire import MM_PER_M
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.registrar import MriRegistration
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.truth import MRI_FILE, write_truth

if TYPE_CHECKING:
    from us_recon.ros.processes import Watcher

DOMAIN = 87
PROBE = "convex"
SPINE_RATE_HZ, BRAIN_RATE_HZ = 6.0, 8.0
START_MM, START_DEG = 4.0, 4.0
ATTEMPT_EVERY = 25
STAGE_TIMEOUT_S = 240.0


@dataclass(frozen=True, eq=False)
class RegistrationOutcome:
    """What the registration node found, against the truth."""

    trusted: bool
    message: str
    score: float
    error_before_mm: float
    error_after_mm: float


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo", help="scan, map and register a virtual patient over ROS 2"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo_output"), help="folder of the results (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the patient (%(default)s)")
    parser.add_argument(
        "--domain", type=int, default=DOMAIN, help="ROS domain of the demo (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Run both scans and write the report."""
    if find_spec("rclpy") is None:
        raise UsReconError(
            "ROS 2 is not in this environment; run `make setup`, then `. ./env.sh` (or source "
            "your ROS distribution) and try again"
        )
    from us_recon.ros.processes import Watcher

    use_one_thread()
    console = Console()
    out: Path = parsed.out
    started = time.monotonic()
    console.print(
        "A virtual patient is scanned over ROS 2. Research software, not a medical device."
    )
    console.print(
        f"Watch it: ROS_DOMAIN_ID={parsed.domain} rviz2 -d config/us_recon.rviz", markup=False
    )
    watcher = Watcher(parsed.domain)
    try:
        score = scan_the_spine(out, parsed.seed, parsed.domain, watcher, console)
        outcome = register_the_brain(out, parsed.seed, parsed.domain, watcher, console)
    finally:
        watcher.close()
    text = report(score, outcome, parsed.seed, time.monotonic() - started)
    with atomic_path(out / "report.md") as partial:
        partial.write_text(text)
    console.print(f"\n{text}", markup=False, soft_wrap=True)
    console.print(f"Results: {out.resolve()}", markup=False, soft_wrap=True)
    return 0


def scan_the_spine(
    out: Path, seed: int, domain: int, watcher: "Watcher", console: Console
) -> MeshScore:
    """Map a lumbar spine live, write mesh and pictures, and score the mesh."""
    from us_recon.ros.processes import Heard, running_node

    console.print("\n1. A convex probe sweeps over a lumbar spine; the mapper grows its surface")
    logs = out / "logs"
    cell = _cell("spine", seed, SPINE_RATE_HZ)
    write_truth(cell, out / "truth_spine")
    mapper = {"reliable_images": True, "image_queue": 1000, "queue_frames": 1000,
              "status_period_s": 0.2, "stall_after_s": 600.0, "output_dir": str(out)}  # fmt: skip

    def done(heard: "Heard") -> bool:
        status = heard.mapping
        return status is not None and _finished(status, cell)

    def line(heard: "Heard") -> str:
        status = heard.mapping
        return f"{status.triangles} triangles" if status else "starting"

    with (
        running_node("occupancy_mapper", mapper, logs, domain) as mapping,
        running_node("scanning_cell", _cell_parameters(cell), logs, domain) as scanning,
        _Progress(console, "mapping", cell.image_count) as show,
    ):
        watcher.watch(
            done,
            [mapping, scanning],
            lambda heard: show(heard.mapping.frames_used if heard.mapping else 0, line(heard)),
            STAGE_TIMEOUT_S,
        )
        console.print(f"   saved: {watcher.call('/occupancy_mapper/save')}", markup=False)

    mesh = read_mesh(out / "mesh.ply")
    truth = next(iter(cell.true_meshes().values()))
    middle = cell.T_world_transducer[cell.image_count // 2]
    towards = (float(middle[0, 1]), float(middle[1, 1]), float(middle[2, 1]))
    _write_picture(out / "mesh.png", comparison_picture(mesh, truth, towards))
    views = [View(T, cell.geometry) for T in cell.T_world_transducer]
    return score_mesh(mesh, truth, views)


def register_the_brain(
    out: Path, seed: int, domain: int, watcher: "Watcher", console: Console
) -> RegistrationOutcome:
    """Register the MRI of a brain live, write the picture, and measure the error."""
    from us_recon.ros.processes import Heard, running_node

    console.print(
        "\n2. A small convex probe tilts in a craniotomy; the MRI is registered from a start "
        f"{START_MM:g} mm and {START_DEG:g} degrees off"
    )
    logs, truth_folder = out / "logs", out / "truth_brain"
    cell = _cell("brain", seed, BRAIN_RATE_HZ)
    write_truth(cell, truth_folder)
    T_initial = cell.initial_T_world_mri(START_MM, START_DEG)
    registration = {
        "reliable_images": True,
        "image_queue": 1000,
        "queue_frames": 1000,
        "status_period_s": 0.2,
        "stall_after_s": 600.0,
        "register_every_frames": ATTEMPT_EVERY,
        "mri_file": str((truth_folder / MRI_FILE).resolve()),
        "initial_from": "parameters",
        "initial_translation_m": (T_initial[:3, 3] / MM_PER_M).tolist(),
        "initial_rotation_rpy_rad": Rotation.from_matrix(T_initial[:3, :3])
        .as_euler("xyz")
        .tolist(),
    }

    def done(heard: "Heard") -> bool:
        status = heard.registration
        return status is not None and _finished(status, cell)

    def line(heard: "Heard") -> str:
        status = heard.registration
        return str(status.message) if status else "starting"

    with (
        running_node("mri_registration", registration, logs, domain) as registering,
        running_node("scanning_cell", _cell_parameters(cell), logs, domain) as scanning,
        _Progress(console, "registration", cell.image_count) as show,
    ):
        watcher.watch(
            done,
            [registering, scanning],
            lambda heard: show(
                heard.registration.frames_used if heard.registration else 0, line(heard)
            ),
            STAGE_TIMEOUT_S,
        )
    status = watcher.heard.registration
    T_found = watcher.heard.transforms.get(("world", "mri"))
    trusted = status is not None and bool(status.trusted) and T_found is not None
    # A rejected registration publishes no transform: then the start is all there is.
    T_final = T_found if T_found is not None and trusted else T_initial
    _write_picture(out / "registration.png", _before_and_after(cell, T_initial, T_final))
    return RegistrationOutcome(
        trusted=trusted,
        message=str(status.message) if status else "no status was heard",
        score=float(status.score) if status else float("nan"),
        error_before_mm=target_error_mm(cell, T_initial),
        error_after_mm=target_error_mm(cell, T_final),
    )


def target_error_mm(cell: ScanningCell, T_world_mri: Float64[np.ndarray, "4 4"]) -> float:
    """Return the mean distance of targets in the imaged region from their true places."""
    targets = cell.targets_mm()
    error = transform_points(T_world_mri, targets) - transform_points(cell.T_world_mri, targets)
    return float(np.linalg.norm(error, axis=1).mean())


def report(score: MeshScore, outcome: RegistrationOutcome, seed: int, seconds: float) -> str:
    """Return the report as Markdown."""
    surface = "\n".join(f"| {name} | {value} |" for name, value in score_rows(score))
    verdict = "trusted, published to tf" if outcome.trusted else "not trusted, not published"
    return f"""\
# Virtual patient {seed}

Simulated data with known truth, run over ROS 2 in {seconds:.0f} s.
Research software, not a medical device.

## Surface of the lumbar spine (mesh.ply, mesh.png)

| measure | value |
|---|---|
{surface}

## MRI of the brain (registration.png)

| measure | value |
|---|---|
| verdict | {verdict} |
| message | {outcome.message} |
| score | {outcome.score:.3f} |
| target error before | {outcome.error_before_mm:.2f} mm |
| target error after | {outcome.error_after_mm:.2f} mm |
"""


def _cell(scene: str, seed: int, image_rate_hz: float) -> ScanningCell:
    return make_cell(scene, PROBE, seed, settings=CellSettings(image_rate_hz=image_rate_hz))


def _cell_parameters(cell: ScanningCell) -> dict[str, Any]:
    return {
        "scene": cell.scene.name,
        "probe": PROBE,
        "seed": cell.seed,
        "image_rate_hz": cell.settings.image_rate_hz,
        "wait_for_subscribers": 1,
    }


def _finished(status: Any, cell: ScanningCell) -> bool:
    handled = status.frames_used + status.frames_dropped
    return bool(handled >= cell.image_count and status.backlog == 0)


def _before_and_after(
    cell: ScanningCell,
    T_initial: Float64[np.ndarray, "4 4"],
    T_final: Float64[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "height width 3"]:
    number = cell.image_count // 2
    event = cell.image_event(number)
    frame = TrackedFrame(
        event.stamp_ns, event.image, cell.T_world_transducer[number], cell.geometry
    )
    registration = MriRegistration(cell.mri)
    rows = []
    for when, T in (("before", T_initial), ("after", T_final)):
        expected = registration.expected_image(frame, T)
        error_mm = target_error_mm(cell, T)
        rows.append(
            [
                ("measured", event.image),
                (f"expected from the MRI, {when}: {error_mm:.1f} mm off", expected),
                ("both: measured orange, expected blue", overlay(event.image, expected)),
            ]
        )
    return panel_figure(rows)


def _write_picture(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    with atomic_path(path) as partial:
        cv2.imwrite(str(partial), picture[..., ::-1])


class _Progress:
    """A progress bar that is told frames and a line of text."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("   {task.description}", table_column=Column(min_width=15)),
            BarColumn(bar_width=12),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f} images", table_column=Column(min_width=14)
            ),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TextColumn(
                "{task.fields[line]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
        )
        self._task = self._progress.add_task(name, total=total, line="starting")

    def __enter__(self) -> "_Progress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, frames: int, line: str) -> None:
        self._progress.update(self._task, completed=frames, line=line)
