"""A recording cut out of a made-up volume, with any latency and any calibration."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from us_recon.geometry.rigid import Matrix4, transform_points
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume

PROBE = ProbeGeometry.linear(width_mm=26.0, depth_mm=26.0, width_px=52, height_px=52)
T_PROBE_TRANSDUCER = np.eye(4)
T_PROBE_TRANSDUCER[:3, 3] = 5.0, 60.0, -8.0
T0_NS = 10_000_000_000
Events = Callable[..., list[AcquisitionEvent]]


@cache
def tissue() -> Volume:
    noise = gaussian_filter(np.random.default_rng(3).standard_normal((50, 50, 50)), 1.2)
    affine = np.diag([1.2, 1.2, 1.2, 1.0])
    affine[:3, 3] = -29.4
    return Volume((110.0 + 35.0 * noise / noise.std()).astype(np.float32), affine)


def pose(time_s: float, moves: bool = True, turns: bool = True) -> Matrix4:
    """Return where the transducer is: slides unevenly there and back, turned half-way."""
    T = np.eye(4)
    along_mm = 7.0 * np.sin(2.2 * time_s + 0.8 * np.sin(0.9 * time_s)) if moves else 0.0
    turn_deg = 90.0 * np.clip(time_s - 4.0, 0.0, 1.0) + 8.0 * np.sin(1.7 * time_s)
    angles = [turn_deg * turns, 7.0 * np.sin(1.3 * time_s) * turns]
    T[:3, :3] = Rotation.from_euler("yx", angles, degrees=True).as_matrix()
    T[:3, 3] = [along_mm * np.sin(np.radians(turn_deg * turns)), -14.0, 0.0]
    T[2, 3] = along_mm * np.cos(np.radians(turn_deg * turns))
    return T


@pytest.fixture(scope="session")
def recorded() -> Events:
    """Make a recording of 9 s at 16 images and 50 poses per second."""
    plane = np.pad(PROBE.pixels_to_mm(PROBE.pixel_grid), ((0, 0), (0, 0), (0, 1)))

    @cache
    def image(time_s: float, moves: bool, turns: bool) -> np.ndarray:
        values = tissue().sample(transform_points(pose(time_s, moves, turns), plane), fill=110.0)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def make(
        latency_s: float = 0.0,
        T_error: Matrix4 | None = None,
        moves: bool = True,
        turns: bool = True,
        mirrored: bool = False,
    ) -> list[AcquisitionEvent]:
        T_sent = T_PROBE_TRANSDUCER @ (np.eye(4) if T_error is None else T_error)
        T_transducer_probe = np.linalg.inv(T_PROBE_TRANSDUCER)
        events: list[AcquisitionEvent] = []
        for time_s in np.arange(-0.6, 9.6, 0.02):
            T = pose(float(time_s), moves, turns) @ T_transducer_probe
            events.append(PoseEvent(T0_NS + round(time_s * 1e9), T))
        for time_s in np.arange(0.0, 9.0, 0.0625):
            pixels = image(float(time_s), moves, turns)
            stamp_ns = T0_NS + round((time_s + latency_s) * 1e9)
            events.append(ImageEvent(stamp_ns, pixels[:, ::-1].copy() if mirrored else pixels))
        first = GeometryEvent(T0_NS - 10**9, PROBE)
        static = PoseEvent(T0_NS - 10**9, T_sent, "probe", "transducer", static=True)
        return [first, static, *sorted(events, key=lambda event: event.stamp_ns)]

    return make
