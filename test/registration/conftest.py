"""A small made-up MRI, and frames that are exact local combinations of it."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from us_recon.geometry.rigid import invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels, make_channels
from us_recon.registration.settings import RegistrationSettings

GEOMETRY = ProbeGeometry.linear(width_mm=24.0, depth_mm=24.0, width_px=60, height_px=60)
SETTINGS = RegistrationSettings(
    ridge=0.0,
    near_field_mm=0.0,
    time_gain_mm=0.0,
    outside_share=0.0,
    capture_mm=8.0,
    capture_deg=8.0,
    start_count=128,
    max_rounds=1,
    refine_count=12,
    candidate_count=6,
    mode_count=2,
    mirrored_count=64,
    min_area_mm2=500.0,
    window_frames=6,
)
T_WORLD_MRI = make_rigid(
    Rotation.from_euler("xyz", [20.0, -10.0, 35.0], degrees=True).as_matrix(),
    np.array([80.0, -20.0, 5.0]),
)


def make_volume(seed: int, size: int = 44) -> Volume:
    """Smooth noise, 1 mm, centred on the MRI's origin."""
    noise = np.random.default_rng(seed).standard_normal((size, size, size))
    data = gaussian_filter(noise, 2.0)
    affine = np.eye(4)
    affine[:3, 3] = -(size - 1) / 2.0
    return Volume((1000.0 + 300.0 * data / data.std()).astype(np.float32), affine)


def sweep_poses(count: int = 5) -> list[np.ndarray]:
    """Poses of a probe that tilts and slides over the middle of the MRI, in the world."""
    poses = []
    for step in np.linspace(-1.0, 1.0, count):
        tilt = Rotation.from_euler("x", 12.0 * step, degrees=True).as_matrix()
        poses.append(T_WORLD_MRI @ make_rigid(tilt, np.array([0.5, -12.0, 4.0 * step])))
    return poses


def make_frames(volume: Volume, count: int = 5, noise: float = 0.0) -> list[TrackedFrame]:
    """Frames whose brightness falls with the MRI's intensity, at `T_WORLD_MRI`."""
    rng = np.random.default_rng(7)
    plane = np.pad(GEOMETRY.pixels_to_mm(GEOMETRY.pixel_grid), ((0, 0), (0, 0), (0, 1)))
    frames = []
    for number, T in enumerate(sweep_poses(count)):
        points = transform_points(invert_rigid(T_WORLD_MRI) @ T, plane)
        values = volume.sample(points, fill=1000.0)
        brightness = 120.0 - 0.1 * (values - 1000.0) + noise * rng.standard_normal(values.shape)
        image = np.clip(np.rint(brightness), 10, 255).astype(np.uint8)
        frames.append(TrackedFrame(number * 50_000_000, image, T, GEOMETRY))
    return frames


@pytest.fixture(scope="session")
def volume() -> Volume:
    """The MRI."""
    return make_volume(seed=3)


@pytest.fixture(scope="session")
def channels(volume: Volume) -> MriChannels:
    """The MRI, prepared."""
    return make_channels(volume, SETTINGS)


@pytest.fixture(scope="session")
def frames(volume: Volume) -> list[TrackedFrame]:
    """Five frames of the MRI."""
    return make_frames(volume)


@pytest.fixture(scope="session")
def settings() -> RegistrationSettings:
    """Settings that suit a volume this small."""
    return SETTINGS


@pytest.fixture(scope="session")
def T_world_mri() -> np.ndarray:
    """Where the MRI truly is."""
    return T_WORLD_MRI


@pytest.fixture(scope="session")
def frames_of() -> Callable[..., list[TrackedFrame]]:
    """Make frames of another volume."""
    return make_frames


@pytest.fixture(scope="session")
def volume_of() -> Callable[..., Volume]:
    """Make another volume."""
    return make_volume
