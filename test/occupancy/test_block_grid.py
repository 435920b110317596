"""The sparse voxel grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from us_recon.errors import InputError
from us_recon.occupancy.block_grid import BlockGrid, block_keys

indices = st.lists(st.tuples(*[st.integers(-500, 500)] * 3), min_size=1, max_size=30, unique=True)


@given(indices)
def test_what_is_written_is_found_again(voxels: list[tuple[int, int, int]]) -> None:
    grid = BlockGrid(1.0, 1000)
    at = grid.locate(np.array(voxels))
    grid.value[at] = np.arange(len(voxels))
    assert len(set(at.tolist())) == len(voxels)
    again = grid.locate(np.array(voxels[::-1]))
    np.testing.assert_array_equal(grid.value[again], np.arange(len(voxels))[::-1])


def test_block_and_place_by_hand() -> None:
    # Voxel (-1, 8, 3) is in block (-1, 1, 0), there at (7, 0, 3).
    grid = BlockGrid(0.5, 10)
    at = grid.locate(np.array([[-1, 8, 3]]))
    grid.value[at], grid.weight[at] = 5.0, 1.0
    arrays = grid.arrays()
    assert arrays.blocks.tolist() == [[-1, 1, 0]]
    assert arrays.value[0, 7, 0, 3] == 5.0
    assert arrays.value.sum() == 5.0
    assert grid.observed_voxels() == 1


def test_arrays_do_not_depend_on_the_order_of_visits() -> None:
    voxels = np.array([[0, 0, 0], [100, 0, 0], [-100, 5, 5]])
    forth, back = BlockGrid(1.0, 10), BlockGrid(1.0, 10)
    forth.locate(voxels)
    back.locate(voxels[::-1])
    np.testing.assert_array_equal(forth.arrays().blocks, back.arrays().blocks)


def test_growing_keeps_what_is_there() -> None:
    grid = BlockGrid(1.0, 5000)
    first = np.array([[0, 0, 0]])
    grid.value[grid.locate(first)] = 3.0
    many = 8 * np.stack(np.meshgrid(*[np.arange(12)] * 3), axis=-1).reshape(-1, 3)
    grid.locate(many)
    assert grid.block_count == 12**3
    assert grid.value[grid.locate(first)] == 3.0


def test_a_full_grid_refuses_and_counts() -> None:
    grid = BlockGrid(1.0, 2)
    at = grid.locate(np.array([[0, 0, 0], [8, 0, 0], [16, 0, 0], [17, 0, 0]]))
    assert (at >= 0).tolist() == [True, True, False, False]
    assert (grid.block_count, grid.refused_blocks) == (2, 1)


def test_restore_and_clear() -> None:
    grid, other = BlockGrid(1.0, 10), BlockGrid(1.0, 10)
    at = grid.locate(np.array([[1, 2, 3], [-20, 0, 7]]))
    grid.value[at], grid.weight[at] = [1.0, 2.0], 1.0
    other.restore(grid.arrays())
    np.testing.assert_array_equal(
        other.value[other.locate(np.array([[-20, 0, 7], [1, 2, 3]]))], [2.0, 1.0]
    )
    other.clear()
    assert (other.block_count, other.observed_voxels()) == (0, 0)
    assert other.value[other.locate(np.array([[1, 2, 3]]))] == 0.0
    with pytest.raises(InputError, match="max_blocks is 1"):
        BlockGrid(1.0, 1).restore(grid.arrays())


def test_unusable_values_are_refused() -> None:
    with pytest.raises(InputError, match="spacing_mm"):
        BlockGrid(0.0, 10)
    with pytest.raises(InputError, match="from the origin"):
        block_keys(np.array([[1 << 21, 0, 0]]))
