"""The search around an initial pose."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.channels import MriChannels
from us_recon.registration.observation import observe
from us_recon.registration.search import (
    displacement_mm,
    mirrored_images,
    search,
    start_twists,
)
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import Lc2, make_lc2
from us_recon.registration.solver import turn_about_centre


@pytest.fixture(scope="module")
def lc2(frames: list[TrackedFrame], channels: MriChannels, settings: RegistrationSettings) -> Lc2:
    return make_lc2(observe(frames, settings), channels, settings)


@pytest.mark.parametrize("count", [1, 10, 96, 300])
def test_starts_fill_two_balls(count: int) -> None:
    twists = start_twists(count, 6.0, 0.1)
    assert twists.shape == (count, 6)
    assert np.linalg.norm(twists[:, :3], axis=1).max() <= 6.0
    assert np.linalg.norm(twists[:, 3:], axis=1).max() <= 0.1
    np.testing.assert_array_equal(twists, start_twists(count, 6.0, 0.1))
    if count >= 96:
        # Evenly in a ball: the mean is near the centre, and half lies beyond 0.5^(1/3) = 0.794.
        assert np.abs(twists.mean(axis=0) / np.repeat([6.0, 0.1], 3)).max() < 0.1
        outer = np.linalg.norm(twists[:, :3], axis=1) > 0.794 * 6.0
        assert outer.mean() == pytest.approx(0.5, abs=0.12)


def test_no_starts() -> None:
    assert start_twists(0, 6.0, 0.1).shape == (0, 6)


def test_the_displacement_of_a_shift_is_its_length(lc2: Lc2) -> None:
    T = np.eye(4)
    T[:3, 3] = [2.0, -1.0, 2.0]
    assert displacement_mm(lc2.window, T, np.eye(4)) == pytest.approx(3.0)


def test_the_search_finds_what_the_refinement_misses(lc2: Lc2, T_world_mri: np.ndarray) -> None:
    T_true = invert_rigid(T_world_mri)
    T = turn_about_centre(lc2, T_true, np.array([4.0, -3.0, 1.0, 0.06, -0.06, 0.03]))
    alone = replace(lc2, settings=replace(lc2.settings, start_count=0))
    wide = replace(lc2, settings=replace(lc2.settings, start_count=32, refine_count=2))
    missed, found = search(alone, T), search(wide, T)
    assert displacement_mm(lc2.window, missed.best.T_mri_world, T_true) > 2.0
    assert displacement_mm(lc2.window, found.best.T_mri_world, T_true) < 0.6
    assert found.gap > 0.2
    assert found.mirrored.score < 0.7 * found.best.score
    assert np.isnan(missed.gap)


def test_images_are_mirrored_left_to_right(lc2: Lc2) -> None:
    mirrored = mirrored_images(lc2)
    values = lc2.window.values
    np.testing.assert_array_equal(mirrored.window.values[:, 0], values[:, -1])
    np.testing.assert_array_equal(mirrored_images(mirrored).window.values, values)
