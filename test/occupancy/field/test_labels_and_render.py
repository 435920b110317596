"""Losses and render by hand."""

import numpy as np
import pytest

from us_recon.occupancy.field.labels import (
    balanced_samples,
    region_samples,
    transmitted_gradient,
)
from us_recon.occupancy.field.render import Receiver, Tissue, render, render_adjoint


def lines(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_two_samples_by_hand() -> None:
    # Opacity 2 per mm, step 0.5 mm: a full sample attenuates by 1. First sample half occupied
    # (a = 0.5), second empty. T = 1, exp(-0.5); first: exp(-0.25) 0.5 S + (1 - exp(-0.5)) rho.
    tissue = Tissue(lines(0.5, 0.0), lines(0.0, 0.0), lines(1.0, 1.0), lines(2.0, 2.0))
    receiver = Receiver(lines(1.0, 0.8), np.array([0.1, 0.1], np.float32), 0.5, 2.0)
    echo, transmission = render(tissue, receiver)
    through = np.exp(-0.5)
    np.testing.assert_allclose(transmission, lines(1.0, through), rtol=1e-5)
    first = np.exp(-0.25) * 0.5 + (1 - through) * 2.0
    second = 0.8 * through + 0.1 * (1 - through)
    np.testing.assert_allclose(echo, lines(first, second), rtol=1e-5)


def test_full_shadow_shows_the_clutter_alone() -> None:
    tissue = Tissue(
        lines(*[1.0] * 40, 0.0), lines(*[0.0] * 41), lines(*[1.0] * 41), lines(*[1.0] * 41)
    )
    receiver = Receiver(np.ones((1, 41), np.float32), np.full(41, 0.2, np.float32), 0.5, 2.0)
    assert render(tissue, receiver)[0][0, -1] == pytest.approx(0.2, abs=1e-5)


def test_what_sound_passes_looks_like_the_tissue_that_it_is_by_hand() -> None:
    # Opacity 0 and attenuation 0.4 per mm over 0.5 mm: a = 0.2, whatever the occupancy.
    tissue = Tissue(lines(0.25, 1.0), lines(0.4, 0.0), lines(1.0, 1.5), lines(3.0, 2.0))
    receiver = Receiver(lines(1.0, 0.5), np.array([0.1, 0.1], np.float32), 0.5, 0.0)
    echo, transmission = render(tissue, receiver)
    through = np.exp(-0.2)
    np.testing.assert_allclose(transmission, lines(1.0, through), rtol=1e-6)
    second = 0.5 * through * 1.5 + 0.1 * (1 - through)
    np.testing.assert_allclose(echo, lines(np.exp(-0.1), second), rtol=1e-6)


@pytest.mark.parametrize("opacity_per_mm", [1.5, 0.0])
def test_adjoint_by_finite_differences(opacity_per_mm: float) -> None:
    random = np.random.default_rng(3)
    parts = [random.uniform(0.05, 0.9, (2, 6)).astype(np.float32) for _ in range(5)]
    clutter = random.uniform(0, 0.3, 6).astype(np.float32)
    receiver = Receiver(parts[4], clutter, 0.5, opacity_per_mm)
    wanted = random.normal(size=(2, 6)).astype(np.float32)
    tissue = Tissue(*parts[:4])
    gradients = render_adjoint(tissue, receiver, render(tissue, receiver)[1], wanted)
    for number, gradient in enumerate(vars(gradients).values()):
        for place in ((0, 0), (0, 3), (1, 5)):
            losses = []
            for sign in (1, -1):
                moved = [part.copy() for part in parts[:4]]
                moved[number][place] += sign * 1e-2
                echo = render(Tissue(*moved), receiver)[0]
                losses.append(float((echo * wanted).sum(dtype=np.float64)))
            expected = (losses[0] - losses[1]) / 2e-2
            assert gradient[place] == pytest.approx(expected, abs=2e-3)


def test_thirds_by_hand() -> None:
    # Surface at 20 mm, chances of a half: 8.5 mm is half way to just in front, which begins at
    # 17 mm; 18.5 mm half way through that; 21.5 mm half way through 3 mm behind.
    half = np.full((3, 3), 0.5, np.float32)
    surface = np.array([20.0, np.nan, np.nan], np.float32)
    weight = np.array([0.7, 1.0, 1.0], np.float32)
    samples = balanced_samples(surface, weight, np.array([False, True, False]), 40.0, half)
    np.testing.assert_allclose(samples.depth_mm[0], [8.5, 18.5, 21.5])
    np.testing.assert_allclose(samples.occupied[0], [0, 0, 1])
    np.testing.assert_allclose(samples.weight[0], 0.7)
    # No surface: free where there is a label, unknown otherwise.
    np.testing.assert_allclose(samples.weight[1:], [[2, 0, 0], [0, 0, 0]])


def test_samples_of_a_region_by_hand() -> None:
    # Samples at 1 to 8 mm; the wall is crossed between 4 and 5 mm, and nothing is known at 8 mm.
    depths_mm = np.arange(1.0, 9.0, dtype=np.float32)
    outside_mm = np.array([[5.5, 4.5, 2.5, 0.5, -0.5, -2.5, -3.5, np.nan], [9.0] * 8], np.float32)
    samples = region_samples(outside_mm, depths_mm, np.array([[0.0, 0.9, 0.9, 0.9]] * 2, "f4"))
    np.testing.assert_array_equal(samples.occupied[0], [1, 1, 0, 0])
    # Deep inside only 7 mm; just inside the second of 5 and 6 mm; just outside of 3 and 4; beyond
    # of 1 and 2 mm.
    np.testing.assert_array_equal(samples.depth_mm[0], [7, 6, 4, 2])
    np.testing.assert_array_equal(samples.weight, [[1, 1, 1, 1], [0, 0, 0, 1]])


def test_a_view_in_shadow_pushes_nothing_to_empty() -> None:
    # Labels of 0 at o = 0.9: seen in full the gradient with respect to the log-odds is o; at a
    # transmission of 0.01 it is 0.009 * 0.1 / (1 - 0.009).
    gradient = transmitted_gradient(lines(0.9, 0.9), lines(1.0, 0.01), lines(0, 0), lines(1, 1))
    np.testing.assert_allclose(gradient, lines(0.9, 0.009 * 0.1 / 0.991), rtol=1e-4)
