"""Dynamic programming across the beams, against exhaustive search."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from us_recon.occupancy.ridge_path import best_path

SLOPE, SWITCH = 0.5, 1.0


def total(evidence: np.ndarray, path: tuple[int, ...]) -> float:
    """What a path earns, -1 standing for none, written as the docstring says it."""
    earned = sum(evidence[beam, index] for beam, index in enumerate(path) if index >= 0)
    for before, after in itertools.pairwise(path):
        if before >= 0 and after >= 0:
            earned -= SLOPE * abs(after - before)
        elif before != after:
            earned -= SWITCH
    return float(earned)


def exhaustive(evidence: np.ndarray) -> float:
    beams, samples = evidence.shape
    return max(
        total(evidence, path) for path in itertools.product(range(-1, samples), repeat=beams)
    )


def test_by_hand() -> None:
    # Beam 0 earns 2 at sample 1, beam 1 earns 3 at sample 0: staying on both costs 0.5 for the
    # step and gives 4.5; beam 2 has only -1 to offer, so ending there costs 1.0: 3.5 in all.
    evidence = np.array([[0, 2], [3, 0], [-1, -1.5]], np.float32)
    path = best_path(evidence, SLOPE, SWITCH)
    # Going on at beam 2 sample 0 gives 5 - 0.5 - 1 = 3.5 as well: a tie, which ends the path.
    assert path.index.tolist() == [1, 0, -1]
    # Without beam 0: start at beam 1 (3 - 1) and go on or end (-1): 1. Margin 3.5 - 1.
    # Without beam 1: beam 0 alone, 2 - 1, or that and a new start at beam 2: 1. Margin 3.5 - 1.
    np.testing.assert_allclose(path.margin, [2.5, 2.5, 0.0])


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(2, 4), st.integers(2, 4)),
        elements=st.floats(-4, 4, width=32),
    )
)
def test_finds_the_best_path(evidence: np.ndarray) -> None:
    path = best_path(evidence, SLOPE, SWITCH)
    best = exhaustive(evidence)
    without = max(
        total(evidence, tried)
        for tried in itertools.product(range(-1, evidence.shape[1]), repeat=len(evidence))
        if tried[0] == -1
    )
    assert path.margin[0] == pytest.approx(max(best - without, 0.0), abs=1e-4)
    if (path.margin[path.index >= 0] > 1e-3).all() and (path.index >= 0).all():
        assert total(evidence, tuple(path.index.tolist())) <= best + 1e-4


def test_an_outlier_does_not_pull_the_path_away() -> None:
    # A straight line at sample 20 that earns 1; one beam earns 2 at sample 35 instead. Going there
    # and back costs 2 * 15 * 0.5 = 15.
    evidence = np.full((30, 40), -1, np.float32)
    evidence[:, 20] = 1
    evidence[12, 35] = 2
    assert best_path(evidence, SLOPE, SWITCH).index.tolist() == [20] * 30


def test_without_slope_cost_the_outlier_wins() -> None:
    evidence = np.full((30, 40), -1, np.float32)
    evidence[:, 20] = 1
    evidence[12, 35] = 2
    assert best_path(evidence, 0.0, SWITCH).index[12] == 35


def test_nothing_speaks_for_bone() -> None:
    path = best_path(np.full((10, 20), -0.1, np.float32), SLOPE, SWITCH)
    assert (path.index == -1).all()
    assert (path.margin == 0).all()


def test_short_stretch_must_pay_for_start_and_end() -> None:
    # Two beams that earn 0.9 each do not pay 2 * 1.0; three do.
    evidence = np.full((9, 5), -1, np.float32)
    evidence[3:5, 2] = 0.9
    assert (best_path(evidence, SLOPE, SWITCH).index == -1).all()
    evidence[5, 2] = 0.9
    found = best_path(evidence, SLOPE, SWITCH).index
    assert found.tolist() == [-1, -1, -1, 2, 2, 2, -1, -1, -1]
