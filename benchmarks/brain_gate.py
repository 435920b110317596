"""Registration of simulated brains: accuracy, and what the gate lets through.

Run as ``python -m benchmarks.brain_gate``. Each patient is scanned once, then registered from
starts off the truth, to its own MRI, to that MRI flipped on all axes, and from a place elsewhere in
the head. Only the first may be accepted.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.tables import write_table
from us_recon.geometry.rigid import Matrix4, invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.tracker import random_rigid

CALIBRATION, TEST = range(8), range(100, 108)
PROBES = ("linear", "convex", "phased")
REACH_MM, REACH_DEG, ELSEWHERE_MM = 5.0, 5.0, 25.0
STARTS = 2

NOTE = f"""\
Simulated brains (ICBM template under random craniotomies; fan sweeps with a linear, a convex and a
phased probe in turn; tracking noise), registered by `MriRegistration` at its defaults. Starts are
up to {REACH_MM:g} mm and {REACH_DEG:g} degrees off; `elsewhere` starts {ELSEWHERE_MM:g} mm from
there, and `flipped` is the MRI flipped on all axes. Error: mean over targets in the imaged region.
`lead`: score above the same images mirrored, `gap`: lead over the next different pose; smallest,
median and largest.

The gate's thresholds (`min_margin` 0.03, `min_gap` 0.01) were set just above what wrong attempts
reached on the calibration patients; the test patients played no part. It is the T1 image's own
brain that is scanned, so that the figures are better than a real patient's. Time: process, one
thread.
"""


def main() -> None:
    """Register all patients and write the table."""
    run = parse_run(__doc__)
    use_one_thread()
    rows = []
    groups = {"calibration": CALIBRATION, "test": TEST}
    for name, seeds in ({"test": TEST[:1]} if run.fast else groups).items():
        results: dict[str, list[tuple[float, RegistrationUpdate, float]]] = {}
        for seed in seeds:
            cell = make_cell(
                "brain", PROBES[seed % 3], seed, settings=CellSettings(image_rate_hz=2.0)
            )
            for case, outcome in register_all(cell):
                results.setdefault(case, []).append(outcome)
        rows += [{"patients": name, "MRI": case, **row(found)} for case, found in results.items()]
    write_table("brain_gate", rows, NOTE, run.results)


def register_all(
    cell: ScanningCell,
) -> list[tuple[str, tuple[float, RegistrationUpdate, float]]]:
    """Register one patient in all cases; return error, update and seconds of each."""
    frames = list(cell.tracked_frames())
    flipped = replace(cell.mri, data=np.ascontiguousarray(cell.mri.data[::-1, ::-1, ::-1]))
    middle = transform_points(cell.T_world_mri, cell.targets_mm().mean(axis=0))
    rng = np.random.default_rng([cell.seed, 77])
    found = []
    for _ in range(STARTS):
        near = about(middle, rng.uniform(0, REACH_MM), rng.uniform(0, REACH_DEG), rng)
        far = about(middle, ELSEWHERE_MM, 0.0, rng)
        for case, mri, error in (
            ("own", cell.mri, near),
            ("flipped", flipped, near),
            ("elsewhere", cell.mri, far @ near),
        ):
            began = time.process_time()
            update = register(mri, frames, error @ cell.T_world_mri)
            seconds = time.process_time() - began
            found.append((case, (target_error_mm(cell, update.T_world_mri), update, seconds)))
    return found


def about(
    centre: np.ndarray, shift_mm: float, turn_deg: float, rng: np.random.Generator
) -> Matrix4:
    """Return a random motion by this much about a point."""
    there = make_rigid(np.eye(3), centre)
    return there @ random_rigid(shift_mm, turn_deg, rng) @ invert_rigid(there)


def register(mri: Volume, frames: list[TrackedFrame], T_start: Matrix4) -> RegistrationUpdate:
    """Register once, on all frames."""
    registration = MriRegistration(mri)
    registration.set_initial(T_start)
    for frame in frames:
        registration.add_frame(frame)
    update = registration.step()
    if update is None:
        raise SystemExit(f"{len(frames)} frames gave no attempt")
    return update


def target_error_mm(cell: ScanningCell, T_world_mri: Matrix4) -> float:
    """Return the mean distance of the targets from their true places."""
    targets = cell.targets_mm()
    error = transform_points(T_world_mri, targets) - transform_points(cell.T_world_mri, targets)
    return float(np.linalg.norm(error, axis=1).mean())


def row(found: Sequence[tuple[float, RegistrationUpdate, float]]) -> dict[str, object]:
    """Return the figures of one case."""
    errors = np.array([error for error, _, _ in found])
    accepted = np.array([update.trusted for _, update, _ in found])
    lead = [update.score - update.chance_score for _, update, _ in found]
    gap = [update.gap for _, update, _ in found]
    return {
        "attempts": len(found),
        "within 2 mm": f"{np.mean(errors <= 2.0):.0%}",
        "median mm": float(np.median(errors)),
        "accepted": f"{accepted.mean():.0%}",
        "accepted wrong": int(np.sum(accepted & (errors > 2.0))),
        "lead": spread(lead),
        "gap": spread(gap),
        "s": float(np.median([seconds for _, _, seconds in found])),
    }


def spread(values: Sequence[float]) -> str:
    """Return smallest, median and largest, of those that are known."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return "-"
    return " / ".join(f"{value:.3f}" for value in np.percentile(known, [0, 50, 100]))


if __name__ == "__main__":
    main()
