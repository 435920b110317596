"""Voxels near an image plane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from us_recon.geometry.rigid import from_euler_xyz_deg, invert_rigid, transform_points
from us_recon.occupancy.slab import PlaneRegion, voxels_in_slab


def test_axis_aligned_count() -> None:
    # x from 0 to 4: 5 voxels; y from 0 to 3: 4; z within 1 mm of the plane: -1, 0, 1: 60 in all.
    slab = voxels_in_slab(np.eye(4), PlaneRegion((0.0, 4.0), (0.0, 3.0), 1.0), 1.0)
    assert len(slab.voxels) == 60
    np.testing.assert_array_equal(slab.local_mm, slab.voxels)


def test_spacing() -> None:
    # The same at 0.5 mm: 9 * 7 * 5.
    slab = voxels_in_slab(np.eye(4), PlaneRegion((0.0, 4.0), (0.0, 3.0), 1.0), 0.5)
    assert len(slab.voxels) == 315
    np.testing.assert_allclose(slab.local_mm, 0.5 * slab.voxels)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(-20, 20)] * 3),
    st.floats(0.2, 3.0),
)
def test_agrees_with_testing_every_voxel(
    angles: tuple[float, ...], origin: tuple[float, ...], half_mm: float
) -> None:
    T = from_euler_xyz_deg(np.array(origin), np.array(angles))
    region = PlaneRegion((-4.0, 5.0), (1.0, 8.0), half_mm)
    slab = voxels_in_slab(T, region, 1.0)
    reach = np.arange(-35, 36)
    every = np.stack(np.meshgrid(reach, reach, reach), axis=-1).reshape(-1, 3)
    local = transform_points(invert_rigid(T), every.astype(np.float64))
    margin = 1e-6  # of rounding at the border
    low, high = np.array([-4.0, 1.0, -half_mm]), np.array([5.0, 8.0, half_mm])
    surely = every[((local > low + margin) & (local < high - margin)).all(axis=1)]
    perhaps = every[((local > low - margin) & (local < high + margin)).all(axis=1)]
    found = set(map(tuple, slab.voxels.tolist()))
    assert len(found) == len(slab.voxels)
    assert set(map(tuple, surely.tolist())) <= found <= set(map(tuple, perhaps.tolist()))


def test_nothing_when_the_slab_lies_between_voxels() -> None:
    T = np.eye(4)
    T[2, 3] = 0.5
    assert len(voxels_in_slab(T, PlaneRegion((0.0, 4.0), (0.0, 3.0), 0.2), 1.0).voxels) == 0


def test_parts_of_a_voxel_matter() -> None:
    T = np.eye(4)
    T[2, 3] = 0.3
    slab = voxels_in_slab(T, PlaneRegion((0.0, 0.0), (0.0, 0.0), 0.5), 1.0)
    assert slab.voxels.tolist() == [[0, 0, 0]]
    assert slab.local_mm[0, 2] == pytest.approx(-0.3)
