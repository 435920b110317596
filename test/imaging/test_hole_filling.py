import numpy as np
import pytest

from us_recon.imaging.hole_filling import fill_holes


def volume(shape: tuple[int, int, int], known: dict[tuple[int, int, int], float]) -> tuple:
    data, covered = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for index, value in known.items():
        data[index], covered[index] = value, True
    return data, covered


def test_a_hole_is_interpolated_along_the_line_across_it() -> None:
    data, covered = volume((5, 1, 1), {(0, 0, 0): 10.0, (4, 0, 0): 50.0})
    filled, where = fill_holes(data, covered, 9)
    assert filled.ravel().tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert where.ravel().tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(("length", "fills"), [(5, True), (4, False)])
def test_the_length_counts_both_ends(length: int, fills: bool) -> None:
    data, covered = volume((5, 1, 1), {(0, 0, 0): 10.0, (4, 0, 0): 50.0})
    assert fill_holes(data, covered, length)[1].any() == fills


def test_a_hole_open_to_one_side_stays_a_hole() -> None:
    data, covered = volume((5, 1, 1), {(0, 0, 0): 10.0, (1, 0, 0): 50.0})
    filled, where = fill_holes(data, covered, 9)
    assert not where.any() and filled.ravel().tolist() == [10.0, 50.0, 0.0, 0.0, 0.0]


def test_the_shortest_line_wins_and_equal_lines_are_averaged() -> None:
    far = {(0, 2, 2): 200.0, (4, 2, 2): 200.0}
    near = {(2, 1, 2): 10.0, (2, 3, 2): 30.0, (2, 2, 1): 40.0, (2, 2, 3): 60.0}
    data, covered = volume((5, 5, 5), far | near)
    filled, _ = fill_holes(data, covered, 9)
    # Two lines of length 2: along y with mean 20, along z with mean 50. The line along x is longer.
    assert filled[2, 2, 2] == pytest.approx(35.0)


def test_a_diagonal_is_longer_than_a_straight_line_of_as_many_steps() -> None:
    diagonal = {(1, 1, 1): 100.0, (3, 3, 3): 100.0}
    straight = {(2, 2, 1): 10.0, (2, 2, 3): 10.0}
    data, covered = volume((5, 5, 5), diagonal | straight)
    assert fill_holes(data, covered, 9)[0][2, 2, 2] == pytest.approx(10.0)


def test_measured_voxels_are_kept() -> None:
    rng = np.random.default_rng(0)
    data, covered = rng.random((8, 9, 10)).astype(np.float32), rng.random((8, 9, 10)) < 0.3
    filled, where = fill_holes(np.where(covered, data, 0).astype(np.float32), covered, 7)
    np.testing.assert_array_equal(filled[covered], data[covered])
    assert not (where & covered).any() and where.any()
    low, high = data[covered].min(), data[covered].max()
    assert filled[where].min() >= low - 1e-6 and filled[where].max() <= high + 1e-6
