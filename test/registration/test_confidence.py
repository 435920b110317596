"""Confidence and covariance."""

import numpy as np
import pytest

from us_recon.registration.confidence import MODEL, Model, covariance, probability, uncertainty_mm

PLAIN = Model(constant=-2.0, gap=40.0, lead=10.0, covariance_scale=0.02)


def test_the_logistic_model_is_evaluated() -> None:
    # -2 + 40 * 0.05 + 10 * 0.2 = 2; 1 / (1 + e^-2) = 0.8808.
    assert probability(0.05, 0.2, 40_000.0, PLAIN) == pytest.approx(0.8808, abs=1e-4)
    # A quarter of the area makes of every lead half: -2 + 0.5 * 4 = 0.
    assert probability(0.05, 0.2, 10_000.0, PLAIN) == pytest.approx(0.5)


@pytest.mark.parametrize("unknown", range(2))
def test_what_is_unknown_gives_no_confidence(unknown: int) -> None:
    figures = [0.1, 0.2, 40_000.0]
    assert probability(*figures) > 0.5
    figures[unknown] = float("nan")
    assert probability(*figures) == 0.0


def test_more_lead_is_never_less_confidence() -> None:
    rising = [probability(gap, 0.02, 40_000.0) for gap in (0.0, 0.02, 0.05, 0.1, 10.0)]
    assert rising == sorted(rising) and rising[0] < 0.9 < rising[-1] <= 1.0


def test_the_covariance_inverts_the_curvature() -> None:
    curvature = np.diag([0.1, 0.2, 0.4, 10.0, 20.0, 40.0])
    np.testing.assert_allclose(
        covariance(curvature, PLAIN), np.diag([0.2, 0.1, 0.05, 2e-3, 1e-3, 5e-4])
    )
    # sqrt(0.2 + 0.1 + 0.05).
    assert uncertainty_mm(covariance(curvature, PLAIN)) == pytest.approx(0.5916, abs=1e-4)


def test_a_direction_that_says_nothing_is_uncertain_not_infinite() -> None:
    spread = covariance(np.diag([0.1, 0.1, 0.0, 10.0, 10.0, 10.0]))
    assert np.all(np.isfinite(spread))
    assert spread[2, 2] > 1e6 * spread[0, 0] and MODEL.covariance_scale > 0.0
