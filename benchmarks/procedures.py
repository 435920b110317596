"""The simulated procedures on which tracking is measured: a probe at work on a patient who moves.

The probe first tilts once over the brain, to be registered, and then wanders slowly over the
craniotomy, in contact all the time. The reference of the optical tracker does not follow the
patient: all of the patient's motion is error of a pose that was registered once.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from benchmarks.sets import PROBES, TRACKER, digest, look, scanner
from us_recon.geometry.rigid import invert_rigid, make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings, Trajectory, plan_sweep
from us_recon.simulation.tracker import NS_PER_S

FIRST_SWEEP = SweepSettings(sweep="fan", tilt_deg=28.0)
WORK = SweepSettings(
    sweep="raster",
    length_mm=20.0,
    lanes=2,
    lane_spacing_mm=8.0,
    speed_mm_s=1.0,
    rock_deg=12.0,
    rock_length_mm=16.0,
)
CELL = CellSettings(image_rate_hz=10.0)
BETWEEN_S = 2.0
KNOT_S = 0.05


@dataclass(frozen=True)
class Motion:
    """How a patient moves, in directions that are drawn.

    Attributes:
        drift_mm: Slow drift, reached at the end, along one axis; half as much there and back
            along another.
        drift_deg: The turn that goes with it.
        breath_mm: Amplitude of a shift with the breath.
        breath_s: Time of one breath.
        slip_mm: A slip, once, at a time that is drawn.
        slip_deg: The turn that goes with it.
        slip_s: How long the slip takes.
    """

    drift_mm: float = 5.0
    drift_deg: float = 3.0
    breath_mm: float = 0.5
    breath_s: float = 4.0
    slip_mm: float = 2.5
    slip_deg: float = 1.5
    slip_s: float = 0.4

    def moves(
        self, times_s: Float64[np.ndarray, " n"], start_s: float, rng: np.random.Generator
    ) -> Float64[np.ndarray, "n 4 4"]:
        """Return the motion up to each time, for a patient who rests, but breathes, until a start.

        Args:
            times_s: Times, the last one the end.
            start_s: When drift and slip may begin.
            rng: Draws directions and the time of the slip.
        """
        axes = rng.standard_normal((5, 3))
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        slip_at_s = rng.uniform(0.3, 0.7)
        phase = np.clip((times_s - start_s) / (times_s[-1] - start_s), 0.0, None)
        slipped = _smooth_step((phase - slip_at_s) * (times_s[-1] - start_s) / self.slip_s)
        there_and_back = np.sin(np.pi * phase)
        breath = np.sin(2.0 * np.pi * times_s / self.breath_s)
        shift_mm = (
            self.drift_mm * np.outer(phase, axes[0])
            + 0.5 * self.drift_mm * np.outer(there_and_back, axes[1])
            + self.breath_mm * np.outer(breath, axes[2])
            + self.slip_mm * np.outer(slipped, axes[3])
        )
        turn_deg = self.drift_deg * np.outer(there_and_back, axes[4])
        turn_deg += self.slip_deg * np.outer(slipped, axes[2])
        moves = np.tile(np.eye(4), (len(times_s), 1, 1))
        moves[:, :3, :3] = Rotation.from_rotvec(np.radians(turn_deg)).as_matrix()
        moves[:, :3, 3] = shift_mm
        return moves


@dataclass(frozen=True, eq=False)
class ProcedureCase:
    """One procedure.

    Attributes:
        frames: At tracked, noisy poses.
        mri: The MRI.
        T_world_mri: Its true pose at each frame.
        T_world_mri_start: Where the registration starts.
        targets_mri_mm: Points of the imaged region to measure the error at.
        start_s: Time from the first frame until the patient begins to move.
    """

    frames: list[TrackedFrame]
    mri: Volume
    T_world_mri: Float64[np.ndarray, "frames 4 4"]
    T_world_mri_start: Float64[np.ndarray, "4 4"]
    targets_mri_mm: Float64[np.ndarray, "n 3"]
    start_s: float

    def at_rest(self) -> "ProcedureCase":
        """Return the same procedure on a patient who does not move."""
        rest = self.T_world_mri[0]
        moved = zip(self.frames, self.T_world_mri, strict=True)
        frames = [
            replace(frame, T_world_transducer=rest @ invert_rigid(T) @ frame.T_world_transducer)
            for frame, T in moved
        ]
        return replace(self, frames=frames, T_world_mri=np.tile(rest, (len(frames), 1, 1)))


@dataclass(frozen=True)
class ProcedureSet:
    """Procedures on brains.

    Attributes:
        name: Name of the set and of its table.
        version: Raised with every change of the data.
        motion: How the patients move.
        start_mm: How far the first guess is off.
        start_deg: And how far turned.
        seeds_dev: Patients for development.
        seeds_test: Patients for the reported figures.
    """

    name: str
    version: int
    motion: Motion = Motion()
    start_mm: float = 8.0
    start_deg: float = 5.0
    seeds_dev: tuple[int, ...] = tuple(range(3))
    seeds_test: tuple[int, ...] = (300, 301, 302)

    def case(self, seed: int, duration_s: float = np.inf) -> ProcedureCase:
        """Simulate one procedure, or its beginning."""
        cell = procedure_cell(seed)
        whole = self.true_poses(cell)
        frames = []
        for frame in cell.tracked_frames():
            since_s = (frame.stamp_ns - cell.start_ns) / NS_PER_S
            if since_s > duration_s:
                break
            number = round(since_s * cell.settings.image_rate_hz)
            moved = whole[number] @ invert_rigid(cell.T_world_mri) @ frame.T_world_transducer
            frames.append((number, replace(frame, T_world_transducer=moved)))
        return ProcedureCase(
            frames=[frame for _, frame in frames],
            mri=cell.mri,
            T_world_mri=whole[[number for number, _ in frames]],
            T_world_mri_start=cell.initial_T_world_mri(self.start_mm, self.start_deg),
            targets_mri_mm=cell.targets_mm(),
            start_s=first_sweep_s(cell),
        )

    def true_poses(self, cell: ScanningCell) -> Float64[np.ndarray, "images 4 4"]:
        """Return the MRI's true pose at each image; the patient turns about what is imaged."""
        rng = np.random.default_rng([cell.seed, 7])
        moves = self.motion.moves(cell.image_times_s, first_sweep_s(cell), rng)
        about = make_rigid(np.eye(3), cell.in_world(cell.targets_mm()).mean(axis=0))
        return np.asarray(about @ moves @ invert_rigid(about) @ cell.T_world_mri)


def procedure_cell(seed: int) -> ScanningCell:
    """Return the cell of one procedure, without the patient's motion."""
    patient = {"lesion": "solid" if seed % 2 else "none"}
    cell = make_cell(
        "brain", PROBES[seed % 3], seed, FIRST_SWEEP, TRACKER, CELL, scanner(seed), patient
    )
    work = plan_sweep(cell.scene, cell.geometry, WORK)
    cell.trajectory = one_after_another(cell.trajectory, work, BETWEEN_S)
    return cell


def record() -> dict[str, dict[str, object]]:
    """Return what identifies the set, as `sets.record` does."""
    one = BRAIN_TRACKING
    parts = [asdict(part) for part in (one, FIRST_SWEEP, WORK, TRACKER, CELL)]
    parts[-1].pop("threads")  # changes no image
    scanners = [asdict(scanner(seed)) for seed in one.seeds_test]
    cell = procedure_cell(one.seeds_test[0])
    moves = one.true_poses(cell)[-1].round(3).tolist()
    return {
        one.name: {
            "version": one.version,
            "definition": digest([*parts, BETWEEN_S, scanners, moves]),
            "image": look(cell),
        }
    }


def first_sweep_s(cell: ScanningCell) -> float:
    """Return how long the first sweep takes."""
    return plan_sweep(cell.scene, cell.geometry, FIRST_SWEEP).duration_s


def one_after_another(first: Trajectory, second: Trajectory, between_s: float) -> Trajectory:
    """Return both trajectories in turn, with an even way from the end of one to the other."""
    lengths_s = (first.duration_s, second.duration_s)
    before_s, after_s = (np.arange(0.0, length_s, KNOT_S) for length_s in lengths_s)
    times_s = np.concatenate([before_s, first.duration_s + between_s + after_s])
    return Trajectory(times_s, np.concatenate([first.poses(before_s), second.poses(after_s)]))


def _smooth_step(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    held = np.clip(x, 0.0, 1.0)
    return held * held * (3.0 - 2.0 * held)


BRAIN_TRACKING = ProcedureSet("brain-tracking", 1)
