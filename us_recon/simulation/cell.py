"""The virtual scanning cell: patient, robot, tracker and scanner as one stream of events."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from us_recon.errors import InputError
from us_recon.geometry.rigid import invert_rigid, make_rigid, transform_points
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeKind
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh import Mesh
from us_recon.settings import setting
from us_recon.simulation.catalogue import make_patient, patient_kind
from us_recon.simulation.robot import SweepSettings, Trajectory, plan_sweep
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.scanner.probes import VirtualProbe
from us_recon.simulation.scene import Scene, SceneGrid, on_grid
from us_recon.simulation.tracker import (
    NS_PER_S,
    PoseStream,
    TrackerSettings,
    observe,
    random_rigid,
    sample_times_s,
)

POSE_MARGIN_S = 0.1  # poses before the first and after the last image
T_PROBE_TRANSDUCER = make_rigid(
    np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.array([4.0, -12.5, 87.0])
)


@dataclass(frozen=True)
class CellSettings:
    """Timing and place of a virtual acquisition."""

    image_rate_hz: float = setting(
        20.0, "Images per second.", unit="Hz", minimum=0.5, maximum=200.0
    )
    image_latency_s: float = setting(
        0.0, "Delay of image stamps behind the acquisition.", unit="s", minimum=0.0, maximum=1.0
    )
    label_every: int = setting(0, "Every how many images a label is sent; 0 sends none.", minimum=0)
    patient_turn_deg: float = setting(
        25.0, "How far the patient is turned in the world.", unit="deg", minimum=0.0, maximum=180.0
    )
    patient_shift_mm: float = setting(
        300.0, "How far the patient lies from the world's origin.", unit="mm", minimum=0.0
    )
    start_s: float = setting(1000.0, "Stamp of the first image.", unit="s", minimum=1.0)
    threads: int = setting(
        2, "Images that are made at once; they are the same with any number.", minimum=1, maximum=64
    )
    grid_mm: float = setting(
        1.0, "Spacing at which the patient is tabulated.", unit="mm", minimum=0.3, maximum=3.0
    )


class ScanningCell:
    """One acquisition on one virtual patient, with its truth.

    Everything is drawn from the seed: the same arguments give the same bytes.

    Args:
        scene: Virtual patient.
        probe: Probe and its focusing.
        sweep: How the probe is moved.
        tracker: How well its pose is known.
        settings: Timing and place.
        imager: Receive chain of the scanner.
        seed: Seed of place, texture and noise.
    """

    def __init__(
        self,
        scene: Scene,
        probe: VirtualProbe,
        sweep: SweepSettings | None = None,
        tracker: TrackerSettings | None = None,
        settings: CellSettings | None = None,
        imager: ImagerSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.scene = scene
        self.geometry = probe.geometry
        self.sweep = sweep or SweepSettings()
        self.tracker = tracker or TrackerSettings()
        self.settings = settings or CellSettings()
        self.seed = seed
        self._probe = probe
        self.imager_settings = imager or ImagerSettings()
        place = random_rigid(
            self.settings.patient_shift_mm, self.settings.patient_turn_deg, self._rng(1)
        )
        # The patient is turned about the scanned region, not about a far away origin.
        centre = make_rigid(np.eye(3), -scene.T_scene_approach[:3, 3])
        self.T_world_mri: Float64[np.ndarray, "4 4"] = place @ centre
        self.trajectory: Trajectory = plan_sweep(scene, probe.geometry, self.sweep)

    @property
    def T_probe_transducer(self) -> Float64[np.ndarray, "4 4"]:
        """The true calibration of the probe."""
        return T_PROBE_TRANSDUCER

    @cached_property
    def T_probe_transducer_sent(self) -> Float64[np.ndarray, "4 4"]:
        """The calibration that is sent: the true one with the calibration error."""
        error = random_rigid(
            self.tracker.calibration_error_mm, self.tracker.calibration_error_deg, self._rng(2)
        )
        return self.T_probe_transducer @ error

    @property
    def duration_s(self) -> float:
        """Time from the first to the last image."""
        return (self.image_count - 1) / self.settings.image_rate_hz

    @property
    def image_count(self) -> int:
        """Number of images of the sweep."""
        return int(np.floor(self.trajectory.duration_s * self.settings.image_rate_hz + 1e-9)) + 1

    @property
    def start_ns(self) -> int:
        """Acquisition time of the first image."""
        return round(self.settings.start_s * NS_PER_S)

    @cached_property
    def image_times_s(self) -> Float64[np.ndarray, " images"]:
        """True acquisition times since the start."""
        return np.arange(self.image_count) / self.settings.image_rate_hz

    @cached_property
    def image_stamps_ns(self) -> Int64[np.ndarray, " images"]:
        """Stamps of the images, the latency included."""
        late_s = self.image_times_s + self.settings.image_latency_s
        return self.start_ns + np.round(late_s * NS_PER_S).astype(np.int64)

    @cached_property
    def T_world_transducer(self) -> Float64[np.ndarray, "images 4 4"]:
        """True pose of the array face at each image."""
        return np.asarray(self.T_world_mri @ self.trajectory.poses(self.image_times_s))

    @cached_property
    def grid(self) -> SceneGrid:
        """The patient as the scanner looks it up; made on first use."""
        return on_grid(self.scene, self.geometry.centre_frequency_mhz, self.settings.grid_mm)

    @cached_property
    def imager(self) -> Imager:
        """The scanner."""
        return Imager(self.grid, self.geometry, self.imager_settings, self._probe.beam, self.seed)

    @cached_property
    def mri(self) -> Volume:
        """The patient's MRI."""
        return self.scene.mri()

    def true_meshes(self) -> dict[str, Mesh]:
        """Return the true surfaces in the world by name; a mapper should find the first."""
        return {
            name: moved(self.grid.surface(name), self.T_world_mri) for name in self.scene.solids
        }

    def initial_T_world_mri(self, error_mm: float, error_deg: float) -> Float64[np.ndarray, "4 4"]:
        """Return a first guess that is off by exactly this at the middle of the imaged region."""
        middle = np.array([0.0, self.geometry.depth_mm / 2.0, 0.0])
        centre = transform_points(self.T_world_transducer[self.image_count // 2], middle)
        about = make_rigid(np.eye(3), centre)
        error = random_rigid(error_mm, error_deg, self._rng(3))
        return about @ error @ invert_rigid(about) @ self.T_world_mri

    def in_world(self, points_mri_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return where what the MRI shows at points lies in the world, after any shift."""
        now_mm = points_mri_mm + self.scene.shift_mm(points_mri_mm)
        return transform_points(self.T_world_mri, now_mm)

    def targets_mm(self, count: int = 20) -> Float64[np.ndarray, "count 3"]:
        """Return random points of the imaged region in `mri`, to measure a registration by."""
        rng = self._rng(4)
        beams = self.geometry.beam_points_mm
        image = rng.integers(0, self.image_count, count)
        beam = rng.integers(0, self.geometry.beam_count, count)
        depth = rng.uniform(0.2, 0.9, count) * (self.geometry.sample_count - 1)
        points = np.column_stack([beams[beam, depth.astype(int)], np.zeros(count)])
        T = self.trajectory.poses(self.image_times_s[image])
        return np.asarray(np.einsum("nij,nj->ni", T[:, :3, :3], points) + T[:, :3, 3])

    @cached_property
    def pose_stream(self) -> PoseStream:
        """What the tracker reports of the probe."""
        rng = self._rng(5)
        margin_s = POSE_MARGIN_S + self.tracker.latency_s + self.settings.image_latency_s
        times_s = sample_times_s(self.tracker, self.duration_s, margin_s, rng)
        T_transducer_probe = invert_rigid(self.T_probe_transducer)
        T_world_probe = self.T_world_mri @ self.trajectory.poses(times_s) @ T_transducer_probe
        return observe(self.tracker, times_s, T_world_probe, self.start_ns, rng)

    def image_event(self, number: int) -> ImageEvent:
        """Simulate one image."""
        T_scene_transducer = self.trajectory.poses(self.image_times_s[[number]])[0]
        image = self.imager.image(T_scene_transducer, shot=number)
        return ImageEvent(int(self.image_stamps_ns[number]), image)

    def is_labelled(self, number: int) -> bool:
        """Tell whether an image comes with a label."""
        return self.settings.label_every > 0 and number % self.settings.label_every == 0

    def label_event(self, number: int) -> LabelEvent:
        """Return the label of one image."""
        T_scene_transducer = self.trajectory.poses(self.image_times_s[[number]])[0]
        label = self.imager.label(T_scene_transducer)
        return LabelEvent(int(self.image_stamps_ns[number]), label)

    def events(self) -> Iterator[AcquisitionEvent]:
        """Yield all events in the order of their stamps; images are made a few ahead."""
        stream = self.pose_stream
        first_ns = min(int(stream.stamps_ns[0]), int(self.image_stamps_ns[0]))
        yield GeometryEvent(first_ns, self.geometry)
        yield PoseEvent(first_ns, self.T_probe_transducer_sent, "probe", "transducer", static=True)
        images = self._labels_and_images()
        number = 0
        for stamp_ns, T_world_probe in zip(
            stream.stamps_ns.tolist(), stream.T_world_probe, strict=True
        ):
            while number < self.image_count and self.image_stamps_ns[number] < stamp_ns:
                yield from next(images)
                number += 1
            yield PoseEvent(stamp_ns, T_world_probe)
        for late in images:
            yield from late

    def _labels_and_images(self) -> Iterator[tuple[AcquisitionEvent, ...]]:
        """Yield each image in order, after its label; some are made ahead, several at once."""
        threads = self.settings.threads
        ahead: deque[Future[tuple[AcquisitionEvent, ...]]] = deque()
        assert self.imager  # made once, before the threads ask for it
        with ThreadPoolExecutor(threads, thread_name_prefix="us_recon image") as pool:
            try:
                for number in range(self.image_count):
                    ahead.append(pool.submit(self._label_and_image, number))
                    if len(ahead) > 2 * threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _label_and_image(self, number: int) -> tuple[AcquisitionEvent, ...]:
        # The label goes first, so that it is there when the image is matched.
        label = (self.label_event(number),) if self.is_labelled(number) else ()
        return (*label, self.image_event(number))

    def tracked_frames(self, assembler: AssemblerSettings | None = None) -> Iterator[TrackedFrame]:
        """Yield the frames that a frame assembler makes of the events."""
        assembling = FrameAssembler(assembler)
        for event in self.events():
            yield from assembling.push(event)
        yield from assembling.finish()

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])


def moved(mesh: Mesh, T: Float64[np.ndarray, "4 4"]) -> Mesh:
    """Return a mesh in another frame."""
    vertices = transform_points(T, mesh.vertices_mm.astype(np.float64))
    return Mesh(vertices.astype(np.float32), mesh.triangles)


def make_cell(
    scene: str,
    probe: str = "convex",
    seed: int = 0,
    sweep: SweepSettings | None = None,
    tracker: TrackerSettings | None = None,
    settings: CellSettings | None = None,
    imager: ImagerSettings | None = None,
    patient: Mapping[str, Any] | None = None,
) -> ScanningCell:
    """Return a cell with a patient drawn from the seed.

    Args:
        scene: Name of a patient in the catalogue.
        probe: "linear", "convex" or "phased".
        seed: Seed of everything that is random.
        sweep: Sweep; the scene's own unless told.
        tracker: Tracker.
        settings: Timing and place.
        imager: Settings of the scanner.
        patient: Settings of the patient that are given instead of drawn.

    Raises:
        ConfigError: A setting of the patient is unknown or out of range.
        InputError: Unknown scene or probe.
    """
    kind = patient_kind(scene)
    if probe not in tuple(ProbeKind):
        raise InputError(f"probe is {probe!r}; expected one of {', '.join(ProbeKind)}")
    return ScanningCell(
        make_patient(scene, seed, patient or {}),
        kind.probe(ProbeKind(probe)),
        sweep or kind.sweep,
        tracker,
        settings,
        imager,
        seed=seed,
    )
