import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid


def test_a_voxel_reaches_half_a_spacing_around_its_centre() -> None:
    grid = Grid((10.0, 20.0, 30.0), 0.5, (4, 5, 6))
    np.testing.assert_array_equal(grid.index_to_mm(np.array([1, 2, 3])), [10.5, 21.0, 31.5])
    points = np.array([[10.24, 20.0, 30.0], [10.25, 20.0, 30.0], [9.74, 20.0, 30.0]])
    np.testing.assert_array_equal(grid.mm_to_index(points)[:, 0], [0, 1, -1])
    np.testing.assert_allclose(grid.T_space_index @ [1, 2, 3, 1], [10.5, 21.0, 31.5, 1.0])


def test_around_covers_the_span_without_an_extra_layer() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 in floating point: still 3 steps, 4 voxels.
    grid = Grid.around(np.array([0.0, 0.0, 0.0]), np.array([0.3, 0.25, 0.0]), 0.1)
    assert grid.shape == (4, 4, 1)


def test_bad_grids_are_refused() -> None:
    with pytest.raises(InputError, match="spacing_mm"):
        Grid((0.0, 0.0, 0.0), 0.0, (1, 1, 1))
    with pytest.raises(InputError, match="at least one voxel"):
        Grid((0.0, 0.0, 0.0), 1.0, (1, 0, 1))
