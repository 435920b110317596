"""The MRI's channels, and the compiled interpolation against its readable twin."""

import numpy as np
import pytest
import torch

from us_recon.errors import InputError
from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import (
    INSIDE,
    MriChannels,
    gradient_magnitude,
    make_channels,
)
from us_recon.registration.sampling import interpolate
from us_recon.registration.settings import RegistrationSettings


def scattered_points(count: int = 500) -> torch.Tensor:
    """Points inside, at the border of and outside the made-up MRI, which reaches +-21.5 mm."""
    return torch.from_numpy(
        np.random.default_rng(0).uniform(-26.0, 26.0, (count, 3)).astype(np.float32)
    )


def test_the_compiled_interpolation_equals_its_twin(
    channels: MriChannels, T_world_mri: np.ndarray
) -> None:
    T = torch.from_numpy(T_world_mri.astype(np.float32))
    points = scattered_points() @ T[:3, :3].T + T[:3, 3]
    T_mri_world = invert_rigid(T_world_mri)
    fast = channels.sample_fast(points, T_mri_world)
    twin = channels.sample(points, torch.from_numpy(T_mri_world.astype(np.float32)))
    np.testing.assert_allclose(fast, twin, atol=2e-4)
    assert (fast[INSIDE] == 0).any() and (fast[INSIDE] == 1).any()


def test_interpolation_by_hand() -> None:
    # Values 0 and 8 at k = 0 and 1, all else 0; at k = 0.25: 0.75 * 0 + 0.25 * 8 = 2.
    # At k = 1.5 half of the weight lies outside, where the value is 0: 0.5 * 8 = 4.
    data = np.zeros((2, 2, 2, 3), dtype=np.float32)
    data[:, :, 1, 0] = 8.0
    points = np.array([[0.5, 0.5, 0.25], [0.5, 0.5, 1.5], [0.5, 0.5, 2.5]], dtype=np.float32)
    values = interpolate(data, points, np.eye(4))
    np.testing.assert_allclose(values[0], [2.0, 4.0, 0.0])


def test_points_that_are_not_numbers_are_outside() -> None:
    points = np.array([[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    values = interpolate(np.ones((3, 3, 3, 3), dtype=np.float32), points, np.eye(4))
    np.testing.assert_array_equal(values[0], [0.0, 0.0, 1.0])


def test_gradient_magnitude_is_per_millimetre() -> None:
    # 3 per voxel of 0.5 mm along i and 4 per voxel of 2 mm along j: 6 and 2 per mm, together
    # sqrt(36 + 4). From j = 20 on the second part is gone: 6.
    i, j, _ = np.mgrid[:8, :40, :4].astype(np.float32)
    T_index_space = np.linalg.inv(np.diag([0.5, 2.0, 1.0, 1.0]))
    found = gradient_magnitude(3.0 * i + 4.0 * np.minimum(j, 20.0), T_index_space)
    np.testing.assert_allclose(found[:, :19], np.sqrt(40.0), rtol=1e-5)
    np.testing.assert_allclose(found[:, 22:], 6.0, rtol=1e-5)


def test_voxels_without_a_value_are_outside() -> None:
    data = np.random.default_rng(0).uniform(10, 20, (12, 12, 12)).astype(np.float32)
    data[:3] = 0.0  # padding, as resampling leaves it
    data[6, 6, 6] = np.nan
    data[9, 6, 6] = 0.0  # a dark voxel inside is a value
    inside = make_channels(Volume(data, np.eye(4)), RegistrationSettings()).data[..., INSIDE]
    assert inside[2, 6, 6] == 0 and inside[3, 6, 6] == 0 and inside[4, 6, 6] == 1
    assert inside[6, 6, 6] == 0
    assert inside[9, 6, 6] == 1
    assert np.all(np.isfinite(make_channels(Volume(data, np.eye(4)), RegistrationSettings()).data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((8, 8, 8), 7.0), "one value"),
        (np.full((8, 8, 8), np.nan), "one value"),
        (np.random.default_rng(0).uniform(1, 2, (8, 8, 2)), "3 voxels or more"),
    ],
)
def test_volumes_that_are_no_image_are_refused(data: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_channels(Volume(data.astype(np.float32), np.eye(4)), RegistrationSettings())
