"""Widths of synthetic speckle, of known blur."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from us_recon.acoustics.point_spread import FWHM
from us_recon.acoustics.speckle_widths import LOG_SPECKLE_DB, speckle_widths

BLOCKS, BEAMS, SAMPLES, RIM = 20, 32, 60, 20


def speckle_db(sigma_beams: float, sigma_samples: float, seed: int = 0) -> np.ndarray:
    """Make blocks of the logarithm of blurred complex noise."""
    shape = (2, BLOCKS, BEAMS + 2 * RIM, SAMPLES + 2 * RIM)
    field = np.random.default_rng(seed).standard_normal(shape)
    field = gaussian_filter(field, (0, 0, sigma_beams, sigma_samples))
    return 10.0 * np.log10((field**2).sum(axis=0))[:, RIM:-RIM, RIM:-RIM]


@pytest.mark.parametrize(("beams", "samples"), [(1.5, 2.0), (3.0, 3.0), (1.0, 4.0), (2.5, 1.2)])
def test_the_width_of_the_blur_is_found(beams: float, samples: float) -> None:
    found = speckle_widths(speckle_db(beams, samples))
    assert found.axial_samples == pytest.approx(FWHM * samples, rel=0.12)
    assert found.lateral_beams == pytest.approx(FWHM * beams, rel=0.12)


def test_gain_and_dynamic_range_do_not_matter() -> None:
    image = speckle_db(2.0, 2.5)
    shown = speckle_widths(0.01 * image + 0.4)
    assert shown.axial_samples == pytest.approx(speckle_widths(image).axial_samples, rel=1e-6)


def test_slow_structure_does_not_widen_it() -> None:
    # Waves of 3 dB and 40 samples or beams: a quarter of the speckle's variance.
    image = speckle_db(1.5, 2.0)
    wave = 3.0 * np.sin(2.0 * np.pi * np.arange(SAMPLES) / 40.0)
    across = 3.0 * np.cos(2.0 * np.pi * np.arange(BEAMS) / 40.0)
    found = speckle_widths(image + wave + across[:, None])
    assert found.axial_samples == pytest.approx(FWHM * 2.0, rel=0.15)
    assert found.lateral_beams == pytest.approx(FWHM * 1.5, rel=0.15)


def test_blocks_that_are_masked_do_not_count() -> None:
    image = np.concatenate([speckle_db(1.5, 2.0), speckle_db(4.0, 6.0, seed=1)])
    valid = np.ones(image.shape, bool)
    valid[BLOCKS:] = False
    assert speckle_widths(image, valid) == speckle_widths(image[:BLOCKS])


def test_what_is_no_speckle_has_no_width() -> None:
    flat, ramp = np.ones((4, 16, 40)), np.tile(np.arange(40.0), (4, 16, 1))
    assert np.isnan(speckle_widths(flat).axial_samples)
    assert np.isnan(speckle_widths(ramp).lateral_beams)


def test_the_spread_of_developed_speckle_is_that_of_the_textbooks() -> None:
    # The logarithm of an exponential law: 10 / ln 10 * pi / sqrt 6.
    assert pytest.approx(5.57, abs=0.005) == LOG_SPECKLE_DB
    assert speckle_db(1.5, 2.0).std() == pytest.approx(LOG_SPECKLE_DB, rel=0.05)
