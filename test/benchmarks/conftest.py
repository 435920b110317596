"""Tiny scans whose answers are known: a bone plate, and a brain of smooth noise."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

# The benchmarks are no installed package: they are found from the root of the checkout.
if (root := str(Path(__file__).parents[2])) not in sys.path:
    sys.path.insert(0, root)

from us_recon.evaluation.visibility import View
from us_recon.geometry.rigid import Matrix4, make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh import Mesh
from us_recon.simulation.reslice import reslice

PROBE = ProbeGeometry.linear(40.0, 40.0, 100, 100, beam_count=80, sample_count=201)
PLATE_MM = 20.0
T_WORLD_MRI = make_rigid(
    Rotation.from_euler("xyz", [10.0, -5.0, 15.0], degrees=True).as_matrix(),
    np.array([30.0, -20.0, 5.0]),
)


def plate_frames(label_mm: float = PLATE_MM, every: int = 1) -> list[TrackedFrame]:
    """Frames 1 mm apart along z: tissue, bone's echo at 20 mm, shadow below it.

    The label marks `label_mm` and the 3 mm behind it.
    """
    rng = np.random.default_rng(1)
    depth_mm = PROBE.pixels_to_mm(PROBE.pixel_grid)[..., 1]
    label = ((depth_mm >= label_mm) & (depth_mm <= label_mm + 3.0)).astype(np.uint8) * 255
    frames = []
    for number in range(12):
        speckle = gaussian_filter(rng.normal(size=PROBE.shape), (0.7, 1.5))
        image = 110.0 + 15.0 * speckle / speckle.std()
        image[depth_mm > PLATE_MM + 0.4] = 8.0
        echo = np.exp(-0.5 * ((depth_mm - PLATE_MM) / 0.4) ** 2)
        image += (230.0 - image) * echo
        T = make_rigid(np.eye(3), np.array([0.0, 0.0, float(number)]))
        shown = label if every and number % every == 0 else None
        frames.append(TrackedFrame(number, image.clip(0, 255).astype(np.uint8), T, PROBE, shown))
    return frames


def plate(y_mm: float, z_mm: tuple[float, float] = (1.0, 10.0)) -> Mesh:
    """A rectangle of 30 mm by 9 mm at a depth, turned towards the probe."""
    x = (-15.0, 15.0)
    corners = [(x[0], y_mm, z_mm[0]), (x[1], y_mm, z_mm[0]), (x[1], y_mm, z_mm[1]),
               (x[0], y_mm, z_mm[1])]  # fmt: skip
    return Mesh(np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def noise_mri(seed: int) -> Volume:
    """Smooth noise of 64 mm, brightness 40 to 220, centred on the MRI's origin."""
    data = gaussian_filter(np.random.default_rng(seed).standard_normal((64, 64, 64)), 3.0)
    affine = np.eye(4)
    affine[:3, 3] = -31.5
    return Volume((130.0 + 30.0 * data / data.std()).clip(40, 220).astype(np.float32), affine)


def noise_frames() -> list[TrackedFrame]:
    """Eight frames of `noise_mri(1)` at `T_WORLD_MRI`, from a probe that tilts and slides."""
    mri = noise_mri(1)
    world = Volume(mri.data, T_WORLD_MRI @ mri.T_space_index)
    frames = []
    for number, step in enumerate(np.linspace(-1.0, 1.0, 8)):
        tilt = Rotation.from_euler("x", 12.0 * step, degrees=True).as_matrix()
        T = T_WORLD_MRI @ make_rigid(tilt, np.array([0.5, -20.0, 6.0 * step]))
        frames.append(reslice(world, PROBE, T, number))
    return frames


@pytest.fixture(scope="session")
def scan() -> Callable[..., list[TrackedFrame]]:
    """Make the frames of the bone plate."""
    return plate_frames


@pytest.fixture(scope="session")
def plate_at() -> Callable[..., Mesh]:
    """Make the bone plate's surface."""
    return plate


@pytest.fixture(scope="session")
def views() -> list[View]:
    """Where the probe was over the bone plate."""
    return [View(frame.T_world_transducer, PROBE) for frame in plate_frames(every=0)]


@pytest.fixture(scope="session")
def mri_of() -> Callable[[int], Volume]:
    """Make an MRI."""
    return noise_mri


@pytest.fixture(scope="session")
def brain_frames() -> list[TrackedFrame]:
    """Frames of the first MRI."""
    return noise_frames()


@pytest.fixture(scope="session")
def T_world_mri() -> Matrix4:
    """Where the MRI truly is."""
    return T_WORLD_MRI


@pytest.fixture
def simpleitk() -> None:
    """Skip where the library that one method compares with is absent."""
    if find_spec("SimpleITK") is None:
        pytest.skip("SimpleITK is not installed here: pip install -c constraints.txt '.[bench]'")
