"""A smooth deformation of the MRI is found from images, and believed only where others agree."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from us_recon.errors import InputError
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import make_channels
from us_recon.registration.deformation import (
    Deformation,
    DeformationSettings,
    Deformed,
    deform,
)
from us_recon.registration.settings import RegistrationSettings

SETTINGS = DeformationSettings(control_spacing_mm=8.0, smooth_mm=15.0, largest_mm=2.0)
SEEN_MM = np.array([[x, y, z] for x in (-6.0, 0.0, 6.0) for y in (-8, 0, 8) for z in (-2, 2)])


def bulge_mm(points_mm: np.ndarray) -> np.ndarray:
    """A shift of 2 mm in x and z about a point beside the middle, that fades over 14 mm."""
    apart = np.linalg.norm(points_mm - [-5.0, -6.0, 0.0], axis=1) / 14.0
    return np.exp(-0.5 * apart**2)[:, None] * np.array([1.6, 0.0, 1.2])


def warped(volume: Volume, u: Callable[[np.ndarray], np.ndarray]) -> Volume:
    """The volume of which ``volume(x) = result(x + u(x))``, for a u that changes slowly."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.data.shape), indexing="ij"), axis=-1)
    points = transform_points(volume.T_space_index, index.reshape(-1, 3).astype(float))
    here = points
    for _ in range(30):
        here = points - u(here)
    there = transform_points(volume.T_index_space, here)
    data = map_coordinates(volume.data, there.T, order=3, mode="nearest")
    return replace(volume, data=data.reshape(volume.data.shape).astype(np.float32))


@pytest.fixture(scope="module")
def fit(
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> Callable[[Volume], Deformed]:
    frames = frames_of(volume, count=9, noise=10.0)

    def run(mri: Volume) -> Deformed:
        return deform(frames, make_channels(mri, settings), T_world_mri, settings, SETTINGS)

    return run


def test_a_deformation_is_found_where_it_was_imaged(
    fit: Callable[[Volume], Deformed], volume: Volume
) -> None:
    found = fit(warped(volume, bulge_mm))
    true_mm = bulge_mm(SEEN_MM)
    off = np.linalg.norm(found.deformation.at(SEEN_MM) - true_mm, axis=1).mean()
    assert np.linalg.norm(true_mm, axis=1).mean() > 1.2
    assert off < 0.4
    assert found.believed and found.score > found.rigid_score + 0.05
    # Far from the images nothing is known, and nothing is made up.
    assert np.abs(found.deformation.at(np.array([[200.0, 0.0, 0.0]]))).max() < 1e-6


def test_the_deformed_mri_is_the_one_that_was_imaged(
    fit: Callable[[Volume], Deformed], volume: Volume
) -> None:
    before = warped(volume, bulge_mm)
    after = fit(before).deformation.applied(before)
    imaged = (slice(14, 30), slice(12, 32), slice(19, 25))

    def unlike(mri: Volume) -> float:
        return float(np.nanmean(np.abs(mri.data - volume.data)[imaged]))

    assert unlike(after) < 0.5 * unlike(before)


def test_an_mri_as_imaged_is_left_alone(fit: Callable[[Volume], Deformed], volume: Volume) -> None:
    found = fit(volume)
    assert not found.believed
    assert np.abs(found.deformation.at(SEEN_MM)).max() < 0.3


def test_points_go_there_and_back() -> None:
    control = np.array([[0.0, 0.0, 0.0], [15.0, 0.0, 0.0]])
    weights = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -0.4]])
    field = Deformation(control, weights, weights, smooth_mm=20.0)
    points = np.array([[3.0, 2.0, -1.0], [10.0, -4.0, 6.0]])
    here = field.inverse_at(points)
    np.testing.assert_allclose(here + field.at(here), points, atol=1e-6)


def test_outside_the_mri_nothing_is_known_after_a_deformation(volume: Volume) -> None:
    shift = np.array([[0.0, 5.0, 0.0]])
    field = Deformation(np.zeros((1, 3)), shift, shift, smooth_mm=1e6)  # the same everywhere
    after = field.applied(volume)
    np.testing.assert_allclose(after.data[:, :-5], volume.data[:, 5:], rtol=1e-5)
    assert np.isnan(after.data[:, -4:]).all()


def test_one_frame_is_too_few(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    with pytest.raises(InputError, match="1 frames; expected two or more"):
        deform(frames[:1], make_channels(volume, settings), T_world_mri, settings, SETTINGS)
