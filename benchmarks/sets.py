"""The named, versioned sets that methods are measured on.

Development seeds are for choosing settings, test seeds for the figures that are reported. Whatever
changes the data of a set changes its version: `test/benchmarks/test_sets.py` compares every set
with what `sets.json` recorded of it (`python -m benchmarks.sets` records anew).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.ndimage import shift as shift_image

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeKind
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.views import View
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scanner.imager import ImagerSettings
from us_recon.simulation.tracker import TrackerSettings

RECORD = Path(__file__).parent / "sets.json"
PROBES = tuple(ProbeKind)
OFF_MM = (1.5, 5.0)
GAIN_DB, SLIDER_DB, SLIDERS, NOISE_DB = (-4.0, 4.0), (-3.0, 3.0), 8, (-62.0, -52.0)
BLOCKS = 8  # a set's images are recorded as the mean brightness of 8 x 8 blocks

TRACKER = TrackerSettings(noise_mm=0.15, noise_deg=0.1, calibration_error_mm=0.3)
SPINE_SWEEP = SweepSettings(sweep="raster", length_mm=70.0, lanes=3, lane_spacing_mm=18.0)
SPINE_CELL = CellSettings(image_rate_hz=10.0, label_every=1)
BRAIN_SWEEP = SweepSettings(sweep="fan", tilt_deg=28.0)
BRAIN_CELL = CellSettings(image_rate_hz=3.0)


@dataclass(frozen=True, eq=False)
class MappingCase:
    """One patient to be mapped.

    Attributes:
        frames: At tracked, noisy poses; some with a label.
        truth: True surface in the world.
        views: Where the probe truly was at each image.
    """

    frames: list[TrackedFrame]
    truth: Mesh
    views: list[View]


@dataclass(frozen=True)
class SpineSet:
    """Lumbar spines scanned in three lanes; every seed has its own patient and probe.

    Attributes:
        name: Name of the set and of its table.
        version: Raised with every change of the data.
        label_every: Every how many images one is labelled; 0: none.
        labels: "clean", "half_missing" (every second label is not there) or "half_off" (every
            second one is 1.5 to 5 mm from where it belongs).
        seeds_dev: Patients for development.
        seeds_test: Patients for the reported figures.
    """

    name: str
    version: int
    label_every: int
    labels: str = "clean"
    seeds_dev: tuple[int, ...] = (0, 1, 2)
    seeds_test: tuple[int, ...] = (100, 101, 102, 103, 104, 105)

    def case(self, seed: int) -> MappingCase:
        """Return one patient; the scan is simulated once for all spine sets."""
        cell, frames = spine_scan(seed)
        numbers = {int(stamp): number for number, stamp in enumerate(cell.image_stamps_ns)}
        truth = next(iter(cell.true_meshes().values()))
        return MappingCase(
            frames=[self._labelled(frame, numbers[frame.stamp_ns], seed) for frame in frames],
            truth=truth,
            views=[View(T, cell.geometry) for T in cell.T_world_transducer],
        )

    def _labelled(self, frame: TrackedFrame, number: int, seed: int) -> TrackedFrame:
        """Leave the frame the label that this set gives it, or none."""
        if not self.label_every or number % self.label_every or frame.label is None:
            return replace(frame, label=None)
        bad = (number // self.label_every) % 2 == 1
        if not bad or self.labels == "clean":
            return frame
        if self.labels == "half_missing":
            return replace(frame, label=None)
        rng = np.random.default_rng([seed, number, 6])
        return replace(frame, label=moved_label(frame, rng))


@dataclass(frozen=True, eq=False)
class RegistrationCase:
    """One patient to be registered.

    Attributes:
        frames: At tracked, noisy poses.
        mri: The MRI.
        T_world_mri: Its true pose.
        T_world_mri_start: Where the registration starts.
        targets_mri_mm: Points of the imaged region to measure the error at.
        start_mm: How far the start is off, in the middle of the images.
        start_deg: And how far it is turned.
    """

    frames: list[TrackedFrame]
    mri: Volume
    T_world_mri: Float64[np.ndarray, "4 4"]
    T_world_mri_start: Float64[np.ndarray, "4 4"]
    targets_mri_mm: Float64[np.ndarray, "n 3"]
    start_mm: float
    start_deg: float


@dataclass(frozen=True)
class BrainSet:
    """Brains under a craniotomy, scanned by one fan sweep each, with a start that is off.

    Attributes:
        name: Name of the set and of its table.
        version: Raised with every change of the data.
        reach_mm: Starts are up to this far off, evenly over the seeds.
        reach_deg: And up to this far turned.
        seeds_dev: Patients for development.
        seeds_test: Patients for the reported figures.
    """

    name: str
    version: int
    reach_mm: float = 30.0
    reach_deg: float = 20.0
    seeds_dev: tuple[int, ...] = tuple(range(12))
    seeds_test: tuple[int, ...] = tuple(range(200, 230))

    def case(self, seed: int) -> RegistrationCase:
        """Simulate one patient and its scan."""
        return brain_case(seed, *self.start(seed))

    def start(self, seed: int) -> tuple[float, float]:
        """Return how far a seed's start is off (mm, deg): evenly spread over the seeds."""
        seeds = self.seeds_test if seed in self.seeds_test else self.seeds_dev
        rng = np.random.default_rng(len(seeds))
        place = (np.arange(len(seeds)) + 0.5) / len(seeds)
        offsets = np.column_stack([rng.permutation(place), rng.permutation(place)])
        mm, deg = offsets[seeds.index(seed)]
        return float(self.reach_mm * mm), float(self.reach_deg * deg)


@dataclass(frozen=True)
class LoadSet:
    """A cell that runs for long at the full rate, over ROS 2.

    Attributes:
        name: Name of the set and of its table.
        version: Raised with every change of the data.
        scene: Virtual patient.
        probe: Virtual probe.
        image_rate_hz: Images per second.
        duration_s: How long it runs.
        fast_s: How long in the fast subset.
        seed: Patient.
    """

    name: str
    version: int
    scene: str = "spine"
    probe: str = "convex"
    image_rate_hz: float = 30.0
    duration_s: float = 600.0
    fast_s: float = 45.0
    seed: int = 100


@dataclass(frozen=True)
class RealSet:
    """A recording of the folder of real data (see `benchmarks.tables.data_dir`).

    Attributes:
        name: Name of the set and of its table.
        version: Raised with every change of what is measured on it.
        folder: Folder of the recording.
    """

    name: str
    version: int
    folder: str


SPINE_SETS = {
    one.name: one
    for one in (
        SpineSet("spine-k1", 1, label_every=1),
        SpineSet("spine-k5", 1, label_every=5),
        SpineSet("spine-k20", 1, label_every=20),
        SpineSet("spine-k0", 1, label_every=0),
        SpineSet("spine-k5-missing", 1, label_every=5, labels="half_missing"),
        SpineSet("spine-k5-off", 1, label_every=5, labels="half_off"),
    )
}
BRAIN_REG = BrainSet("brain-reg", 1)
LOAD = LoadSet("load", 1)
BONE_LEG = RealSet("bone-leg", 1, "ultrabones_leg")
RESECT24 = RealSet("resect24", 1, "resect_case24")


@lru_cache(maxsize=1)
def spine_scan(seed: int) -> tuple[ScanningCell, list[TrackedFrame]]:
    """Simulate the scan of one spine, with a label on every frame."""
    cell = spine_cell(seed)
    return cell, list(cell.tracked_frames())


def spine_cell(seed: int) -> ScanningCell:
    """Return the cell of one spine; the probe goes through all kinds with the seed."""
    return make_cell(
        "spine", PROBES[seed % 3], seed, SPINE_SWEEP, TRACKER, SPINE_CELL, scanner(seed)
    )


def brain_cell(seed: int, imager: ImagerSettings | None = None) -> ScanningCell:
    """Return the cell of one brain; the probe goes through all kinds with the seed.

    Every second brain has a tumour, which its MRI shows too. There is no brain shift. The scanner
    is the seed's unless another one is told.
    """
    patient = {"lesion": "solid" if seed % 2 else "none"}
    imager = imager or scanner(seed)
    return make_cell(
        "brain", PROBES[seed % 3], seed, BRAIN_SWEEP, TRACKER, BRAIN_CELL, imager, patient
    )


def brain_case(
    seed: int, start_mm: float, start_deg: float, imager: ImagerSettings | None = None
) -> RegistrationCase:
    """Simulate one brain and its scan, with a start that is off."""
    cell = brain_cell(seed, imager)
    return RegistrationCase(
        frames=list(cell.tracked_frames()),
        mri=cell.mri,
        T_world_mri=cell.T_world_mri,
        T_world_mri_start=cell.initial_T_world_mri(start_mm, start_deg),
        targets_mri_mm=cell.targets_mm(),
        start_mm=start_mm,
        start_deg=start_deg,
    )


def scanner(seed: int) -> ImagerSettings:
    """Return a scanner as some user has set it: no method may count on one brightness."""
    rng = np.random.default_rng([seed, 5])
    return ImagerSettings(
        gain_db=round(float(rng.uniform(*GAIN_DB)), 1),
        tgc_sliders_db=tuple(np.round(rng.uniform(*SLIDER_DB, SLIDERS), 1).tolist()),
        noise_db=round(float(rng.uniform(*NOISE_DB)), 1),
    )


def moved_label(frame: TrackedFrame, rng: np.random.Generator) -> UInt8[np.ndarray, "rows columns"]:
    """Return a frame's label 1.5 to 5 mm from where it belongs, in any direction of the image."""
    assert frame.label is not None
    size_mm, angle = rng.uniform(*OFF_MM), rng.uniform(0.0, 2.0 * np.pi)
    geometry = frame.geometry
    rows = size_mm * np.sin(angle) / geometry.spacing_y_mm
    columns = size_mm * np.cos(angle) / geometry.spacing_x_mm
    return np.asarray(shift_image(frame.label, (round(rows), round(columns)), order=0))


def record() -> dict[str, dict[str, object]]:
    """Return what identifies each set: version, definition and what its first image looks like."""
    from benchmarks import procedures  # which takes patients and scanners from here

    spine, brain = spine_cell(100), brain_cell(200)
    looks = {"spine": look(spine), "brain": look(brain)}
    fixed = {
        "spine": [asdict(part) for part in (SPINE_SWEEP, TRACKER, SPINE_CELL)],
        "brain": [asdict(part) for part in (BRAIN_SWEEP, TRACKER, BRAIN_CELL)],
    }
    for parts in fixed.values():
        parts[-1].pop("threads")  # changes no image
    sets = {one.name: (one, "spine") for one in SPINE_SETS.values()}
    found: dict[str, dict[str, object]] = {}
    for one, patient in [*sets.values(), (BRAIN_REG, "brain")]:
        scanners = [asdict(scanner(seed)) for seed in one.seeds_test]
        found[one.name] = {
            "version": one.version,
            "definition": digest([asdict(one), fixed[patient], scanners]),
            "image": looks[patient],
        }
    found |= procedures.record()
    for real in (LOAD, BONE_LEG, RESECT24):
        found[real.name] = {"version": real.version, "definition": digest([asdict(real)])}
    return found


def digest(parts: Sequence[object]) -> str:
    """Return a short hash of plain values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def look(cell: ScanningCell) -> list[float]:
    """Return the mean brightness of the blocks of the cell's middle image."""
    image = cell.image_event(cell.image_count // 2).image.astype(np.float64)
    rows, columns = (extent // BLOCKS * BLOCKS for extent in image.shape)
    blocks = image[:rows, :columns].reshape(BLOCKS, rows // BLOCKS, BLOCKS, columns // BLOCKS)
    return [round(float(mean), 2) for mean in blocks.mean(axis=(1, 3)).ravel()]


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(), indent=1) + "\n")
