"""Virtual recordings of a hand that moves a probe, with known latency and calibration error.

The images do not depend on the tracker: they are made once and stamped anew for every case.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from us_recon.geometry.rigid import Matrix4
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeKind
from us_recon.simulation.catalogue import patient_kind
from us_recon.simulation.cell import ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings, Trajectory, plan_sweep
from us_recon.simulation.scanner.probes import VirtualProbe
from us_recon.simulation.tracker import NS_PER_S, TrackerSettings

KNOT_S = 0.02
RAMP_S = 1.0


@dataclass(frozen=True)
class Motion:
    """How a hand moves the probe.

    Attributes:
        seconds: Length of the recording.
        reach_mm: How far it slides to both sides of the middle; 0 slides one way.
        tilt_deg: How far it tilts to both sides.
        crossing: Whether the probe is turned by a right angle half-way.
        length_mm: Length of a slide one way.
    """

    seconds: float = 16.0
    reach_mm: float = 12.0
    tilt_deg: float = 6.0
    crossing: bool = False
    length_mm: float = 40.0


THERE_AND_BACK = Motion()
CROSSING = Motion(seconds=20.0, tilt_deg=10.0, crossing=True)
ONE_WAY = Motion(seconds=8.0, reach_mm=0.0, tilt_deg=0.0)


def hand_trajectory(cell: ScanningCell, motion: Motion, seed: int) -> Trajectory:
    """Return a slide along the planned line with uneven speed, tilting and perhaps turning."""
    rng = np.random.default_rng([seed, 77])
    plan = plan_sweep(
        cell.scene, cell.geometry, SweepSettings(length_mm=motion.length_mm, press_mm=1.5)
    )
    times_s = np.arange(0.0, motion.seconds + KNOT_S / 2, KNOT_S)
    along = np.linspace(-1.0, 1.0, len(times_s)) * motion.length_mm / 2.0
    if motion.reach_mm > 0.0:
        along = motion.reach_mm * _wander(rng, times_s)
    T = plan.poses((along / motion.length_mm + 0.5) * plan.duration_s)
    tilt_deg = motion.tilt_deg * _wander(rng, times_s)
    turn_deg = 3.0 * _wander(rng, times_s) * (motion.reach_mm > 0.0)
    if motion.crossing:
        half = motion.seconds / 2.0
        turn_deg = turn_deg + 90.0 * np.clip((times_s - half) / RAMP_S + 0.5, 0.0, 1.0)
    turns = Rotation.from_euler("yx", np.column_stack([turn_deg, tilt_deg]), degrees=True)
    T[:, :3, :3] = T[:, :3, :3] @ turns.as_matrix()
    return Trajectory(times_s, T)


def _wander(
    rng: np.random.Generator, times_s: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Return a smooth, uneven movement between -1 and 1 with a period of some three seconds."""
    rate = 1.0 + 0.5 * gaussian_filter1d(rng.standard_normal(len(times_s)), 0.6 / KNOT_S) * np.sqrt(
        2.0 * np.sqrt(np.pi) * 0.6 / KNOT_S
    )
    phase = 2.0 * np.pi * np.cumsum(np.clip(rate, 0.2, 2.0)) * KNOT_S / 3.0
    return np.asarray(np.sin(phase + rng.uniform(0.0, 2.0 * np.pi)))


@dataclass(frozen=True, eq=False)
class Scan:
    """Images of a virtual patient along a trajectory."""

    cell: ScanningCell
    probe: VirtualProbe
    trajectory: Trajectory
    images: tuple[ImageEvent, ...]

    def events(
        self, image_latency_s: float, tracker: TrackerSettings, T_error: Matrix4
    ) -> Iterator[AcquisitionEvent]:
        """Yield the recording as a cell with such a tracker and such stamps would deliver it.

        Args:
            image_latency_s: Delay of image stamps.
            tracker: How well the probe is tracked.
            T_error: The calibration that is sent is the true one times this.
        """
        cell = self.cell
        settings = replace(cell.settings, image_latency_s=image_latency_s)
        seen = ScanningCell(cell.scene, self.probe, cell.sweep, tracker, settings, seed=cell.seed)
        seen.trajectory = self.trajectory
        stream = seen.pose_stream
        first_ns = int(stream.stamps_ns[0])
        yield GeometryEvent(first_ns, cell.geometry)
        calibration = cell.T_probe_transducer @ T_error
        yield PoseEvent(first_ns, calibration, "probe", "transducer", static=True)
        poses = zip(stream.stamps_ns.tolist(), stream.T_world_probe, strict=True)
        events: list[AcquisitionEvent] = [PoseEvent(stamp, T) for stamp, T in poses]
        late_ns = round(image_latency_s * NS_PER_S)
        events += [replace(image, stamp_ns=image.stamp_ns + late_ns) for image in self.images]
        yield from sorted(events, key=lambda event: event.stamp_ns)


def scan(scene: str, probe: str, seed: int, motion: Motion) -> Scan:
    """Make the images of a virtual recording."""
    cell = make_cell(scene, probe, seed)
    cell.trajectory = hand_trajectory(cell, motion, seed)
    images = tuple(cell.image_event(number) for number in range(cell.image_count))
    virtual = patient_kind(scene).probe(ProbeKind(probe))
    return Scan(cell, virtual, cell.trajectory, images)
