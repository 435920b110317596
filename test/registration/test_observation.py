"""What counts as tissue in an image, and how images become windows."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.first_and_last import between_first_and_last
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.registration.observation import (
    comparison_grid,
    observe,
    sample_frame,
    world_points,
)
from us_recon.registration.settings import RegistrationSettings

# 40 mm wide and deep, 0.5 mm pixels; row r is at (r + 0.5) / 2 mm.
LINEAR = ProbeGeometry.linear(width_mm=40.0, depth_mm=40.0, width_px=80, height_px=80)
SETTINGS = RegistrationSettings(near_field_mm=0.0)


def valid_samples(image: np.ndarray, settings: RegistrationSettings = SETTINGS) -> np.ndarray:
    """Which samples of a 1 mm grid (40 beams, 41 samples) show tissue."""
    return sample_frame(image, comparison_grid(LINEAR, 1.0), settings)[1]


def frame(image: np.ndarray, x_mm: float = 0.0, geometry: ProbeGeometry = LINEAR) -> TrackedFrame:
    T = np.eye(4)
    T[2, 3] = x_mm
    return TrackedFrame(0, image, T, geometry)


def test_dark_with_echoes_behind_it_counts_and_shadow_does_not() -> None:
    echoes = np.array(
        [[0, 1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=bool
    )
    expected = np.array(
        [[0, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=bool
    )
    np.testing.assert_array_equal(between_first_and_last(echoes), expected)


def test_shadow_cyst_and_missing_contact() -> None:
    image = np.full((80, 80), 90, dtype=np.uint8)
    image[40:, :20] = 0  # shadow below 20 mm under the first 10 mm of the face
    image[30:50, 40:50] = 0  # a cyst 15 to 25 mm deep under 20 to 25 mm
    image[:, 70:] = 0  # no contact under the last 5 mm
    valid = valid_samples(image)
    assert valid[4, 5:19].all() and not valid[4, 22:].any()
    assert valid[22, 2:38].all()
    assert not valid[36:].any()


def test_what_is_outside_does_not_darken_its_surroundings() -> None:
    image = np.full((80, 80), 90, dtype=np.uint8)
    image[:, 40:] = 0
    values, valid = sample_frame(image, comparison_grid(LINEAR, 1.0), SETTINGS)
    assert valid[:19, 2:38].all()
    np.testing.assert_allclose(values[valid], 90.0, atol=1e-3)


def test_the_near_field_is_left_out() -> None:
    image = np.full((80, 80), 90, dtype=np.uint8)
    valid = valid_samples(image, RegistrationSettings(near_field_mm=5.0))
    assert not valid[:, :5].any() and valid[10, 5:39].all()


@pytest.mark.parametrize("kind", [ProbeKind.CONVEX, ProbeKind.PHASED])
def test_the_grid_of_a_sector_is_square_at_half_depth(kind: ProbeKind) -> None:
    radius = 40.0 if kind == ProbeKind.CONVEX else 0.0
    sector = ProbeGeometry.sector(kind, radius, 60.0, 50.0, 300)
    points = comparison_grid(sector, 1.0).beam_points_mm
    middle = points.shape[1] // 2
    beside = np.linalg.norm(np.diff(points[:, middle], axis=0), axis=1)
    below = np.linalg.norm(np.diff(points, axis=1), axis=2)
    np.testing.assert_allclose(beside, 1.0, atol=0.05)
    np.testing.assert_allclose(below, 1.0, atol=0.05)


def test_a_window_is_standardised_over_its_tissue() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(20, 200, (80, 80)).astype(np.uint8) for _ in range(3)]
    images[1][:, :40] = 0
    window = observe([frame(image, 2.0 * n) for n, image in enumerate(images)], SETTINGS)
    inside = window.values[window.valid > 0]
    assert float(inside.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(inside.std()) == pytest.approx(1.0, abs=1e-3)
    assert not window.values[window.valid == 0].any()
    # 40 by 40 mm twice, half of that once: 4000 mm2, less the half samples at the edges.
    assert window.area_mm2 == pytest.approx(4000.0, rel=0.08)


def test_spread_is_the_extent_across_the_planes() -> None:
    image = np.full((80, 80), 90, dtype=np.uint8)
    # Planes at 0, 3 and 6 mm: a standard deviation of sqrt(6) = 2.449, four times that is 9.80.
    window = observe([frame(image, at) for at in (0.0, 3.0, 6.0)], SETTINGS)
    assert window.spread_mm == pytest.approx(9.80, abs=0.02)
    assert observe([frame(image)], SETTINGS).spread_mm == pytest.approx(0.0, abs=1e-3)


def test_samples_lie_where_the_pose_puts_them() -> None:
    T = np.array([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    grid = comparison_grid(LINEAR, 1.0)
    # Beam 0 leaves at x = -19.5, sample 3 is 3 mm deep: (-19.5, 3, 0) turns to (-3, -19.5, 0).
    np.testing.assert_allclose(world_points(grid, T)[0, 3], [2.0, -13.5, 7.0])


def test_a_slow_time_gain_is_removed() -> None:
    # 60 grey levels over 80 rows; a Gaussian leaves a ramp as it is but near its ends.
    rows = np.arange(80, dtype=np.float32)[:, None]
    image = np.clip(150.0 - 0.75 * rows + np.zeros((80, 80)), 0, 255).astype(np.uint8)
    window = observe([frame(image)], replace(SETTINGS, time_gain_mm=2.0))
    depths = window.geometry.sample_depths_mm
    middle = (depths > 8.0) & (depths < 30.0)
    left = window.scale * window.values[..., middle] + window.mean
    assert float(left.abs().max()) < 1.0


def test_a_layer_is_no_time_gain() -> None:
    # 4 mm of 80 more: over a standard deviation of 12 mm, a gain that keeps
    # 1 - 4 / (12 sqrt(2 pi)) = 87 % of it.
    image = np.full((80, 80), 80, dtype=np.uint8)
    image[36:44] = 160
    window = observe([frame(image)], replace(SETTINGS, time_gain_mm=12.0))
    profile = window.scale * window.values[0].mean(dim=0)
    depths = window.geometry.sample_depths_mm
    layer = (
        profile[np.abs(depths - 20.0) < 0.6].mean() - profile[np.abs(depths - 14.0) < 0.6].mean()
    )
    assert 0.8 * 80.0 < float(layer) < 80.5


def test_the_time_gain_is_that_of_all_frames() -> None:
    # Depth is brighter by 40 in one frame than in the other: that is tissue, and stays.
    images = [np.full((80, 80), grey, dtype=np.uint8) for grey in (80, 120)]
    settings = replace(SETTINGS, time_gain_mm=3.0)
    window = observe([frame(image) for image in images], settings)
    difference = window.scale * (window.values[1] - window.values[0])
    np.testing.assert_allclose(difference[window.valid[0] > 0], 40.0, atol=0.1)


def test_images_that_show_nothing_make_an_empty_window() -> None:
    window = observe([frame(np.zeros((80, 80), dtype=np.uint8))], SETTINGS)
    assert window.area_mm2 == 0.0 and window.spread_mm == 0.0
    assert np.all(np.isfinite(window.values.numpy())) and np.all(
        np.isfinite(window.centre_world_mm)
    )


def test_frames_of_different_probes_are_refused() -> None:
    image = np.full((80, 80), 90, dtype=np.uint8)
    other = replace(LINEAR, depth_mm=39.0)
    with pytest.raises(InputError, match="one geometry"):
        observe([frame(image), frame(image, geometry=other)], SETTINGS)
    with pytest.raises(InputError, match="one or more"):
        observe([], SETTINGS)


def test_the_coarse_level_takes_the_whole_depth_profile_off() -> None:
    # A layer of 4 mm, brighter by 80 in every beam: at the fine level it stays for the most part,
    # at the coarse one it goes, for it is the same in all that is seen.
    image = np.full((80, 80), 80, dtype=np.uint8)
    image[36:44] = 160
    settings = RegistrationSettings(near_field_mm=0.0, time_gain_mm=12.0)
    fine, coarse = (observe([frame(image)], one) for one in (settings, settings.coarse()))
    assert float(np.ptp((fine.scale * fine.values).numpy())) > 60.0
    assert float((coarse.scale * coarse.values).abs().max()) < 1.0
