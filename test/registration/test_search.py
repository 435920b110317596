"""The search around an initial pose."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels, make_channels, make_coarse_channels
from us_recon.registration.levels import Levels, make_levels, mirrored
from us_recon.registration.observation import observe
from us_recon.registration.search import GlobalSearch, moved_about, start_twists
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import refine, turn_about_centre, twist_between


@pytest.fixture(scope="module")
def levels(
    frames: list[TrackedFrame],
    volume: Volume,
    channels: MriChannels,
    settings: RegistrationSettings,
) -> Levels:
    coarse_channels = make_coarse_channels(volume, settings)
    window, coarse = observe(frames, settings), observe(frames, settings.coarse())
    return make_levels(window, coarse, channels, coarse_channels, settings)


@pytest.fixture(scope="module")
def T_true(T_world_mri: np.ndarray) -> np.ndarray:
    return invert_rigid(T_world_mri)


@pytest.fixture(scope="module")
def T_far(levels: Levels, T_true: np.ndarray) -> np.ndarray:
    """Off by 6.6 mm and 6 degrees."""
    twist = np.array([5.0, -4.0, 1.5, 0.06, -0.08, 0.03])
    return turn_about_centre(levels.fine.centre_world_mm, T_true, twist)


def searched(levels: Levels, T: np.ndarray, settings: RegistrationSettings) -> GlobalSearch:
    search = GlobalSearch(levels, T, settings)
    assert search.advance()
    return search


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


def test_the_blocks_of_rounds_go_on_where_the_last_ended() -> None:
    both = start_twists(200, 6.0, 0.1)
    np.testing.assert_array_equal(start_twists(100, 6.0, 0.1, 0), both[:100])
    np.testing.assert_array_equal(start_twists(100, 6.0, 0.1, 1), both[100:])


def test_starts_turn_about_the_centre_and_then_shift(T_true: np.ndarray) -> None:
    centre = np.array([3.0, -40.0, 20.0])
    twists = np.array([[1.0, 2.0, -2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.3, 0.0]])
    shifted, turned = moved_about(centre, T_true, twists)
    moved = transform_points(shifted, centre) - transform_points(T_true, centre)
    np.testing.assert_allclose(moved, [1.0, 2.0, -2.0], atol=1e-9)
    moved = transform_points(turned, centre) - transform_points(T_true, centre)
    np.testing.assert_allclose(moved, [0.0, 0.0, 3.0], atol=1e-9)
    # cos 0.3 = 0.955.
    np.testing.assert_allclose((turned @ np.linalg.inv(T_true))[0, 0], 0.955, atol=1e-3)


def test_no_sample_is_in_two_patches_of_the_level_before_the_last(levels: Levels) -> None:
    apart, fine = levels.apart.patches, levels.fine.patches
    assert len(np.unique(apart.members)) == apart.members.size
    assert len(np.unique(fine.members)) < fine.members.size
    np.testing.assert_allclose(apart.centre_world_mm, fine.centre_world_mm)


def test_the_displacement_of_a_shift_is_its_length(levels: Levels) -> None:
    T = np.eye(4)
    T[:3, 3] = [2.0, -1.0, 2.0]
    assert levels.apart_mm(T, np.eye(4)) == pytest.approx(3.0)


def test_the_search_finds_what_the_refinement_misses(
    levels: Levels, settings: RegistrationSettings, T_true: np.ndarray, T_far: np.ndarray
) -> None:
    missed = searched(levels, T_far, replace(settings, start_count=0))
    found = searched(levels, T_far, replace(settings, start_count=512, refine_count=40))
    assert levels.apart_mm(missed.best.T_mri_world, T_true) > 2.0
    assert levels.apart_mm(found.best.T_mri_world, T_true) < 0.6
    assert found.gap > 0.2
    assert np.isnan(missed.gap)


def test_a_peak_beside_the_best_one_is_climbed(
    levels: Levels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    """A search that ended on a lower ripple beside the peak goes on to the peak."""
    search = GlobalSearch(levels, T_true, settings)
    beside = turn_about_centre(
        levels.fine.centre_world_mm, T_true, np.array([1.2, -0.9, 0, 0, 0, 0])
    )
    before = refine(levels.fine, beside, max_iterations=0)
    search.modes, search.peaks = [before], [before]
    with ThreadPoolExecutor(1) as pool:
        spent = sum(search._climb_nearby(0, pool))
    assert spent > 16
    assert search.best.score > before.score + 0.1
    assert levels.apart_mm(search.best.T_mri_world, T_true) < 0.6


def test_peaks_are_sought_about_the_mean_of_those_known_from_new_places_each_round(
    levels: Levels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    centre = levels.fine.centre_world_mm
    begun: list[tuple[np.ndarray, np.ndarray]] = []

    def moved_about(_: np.ndarray, T: np.ndarray, twists: np.ndarray) -> np.ndarray:
        begun.append((T, twists))
        return np.array([T])

    monkeypatch.setattr("us_recon.registration.search.moved_about", moved_about)
    search = GlobalSearch(levels, T_true, settings)
    best = refine(levels.fine, T_true, max_iterations=0)
    T_beside = turn_about_centre(centre, T_true, np.array([1.0, 0, 0, 0, 0, 0]))
    search.modes = [best]
    for block in (0, 1):
        search.peaks = [best, replace(best, T_mri_world=T_beside)]  # equally high
        with ThreadPoolExecutor(1) as pool:
            assert list(search._climb_nearby(block, pool))
        half_way = twist_between(T_true, begun[block][0], centre)
        np.testing.assert_allclose(half_way, [0.5, 0, 0, 0, 0, 0], atol=1e-9)
    assert begun[0][1].shape == (16, 6)
    together = np.concatenate([begun[0][1], begun[1][1]])
    assert len(np.unique(together, axis=0)) == 32


def test_the_first_guess_alone_is_refined_where_none_other_is_asked_for(
    levels: Levels,
    settings: RegistrationSettings,
    T_far: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def elsewhere(*_: object) -> list[int]:
        raise AssertionError

    monkeypatch.setattr(GlobalSearch, "_climb_nearby", elsewhere)
    searched(levels, T_far, replace(settings, start_count=0))
    GlobalSearch(levels, T_far, settings, first_only=16).advance()  # nor to learn of chance
    with pytest.raises(AssertionError):
        searched(levels, T_far, settings)


@pytest.fixture(scope="module")
def decided(
    frames: list[TrackedFrame],
    volume: Volume,
    volume_of: Callable[..., Volume],
    channels: MriChannels,
    settings: RegistrationSettings,
) -> Levels:
    """An MRI that explains nothing of the images, and a tissue that explains all."""
    unlike = make_channels(volume_of(seed=9), settings)
    data = np.concatenate([unlike.data[..., :2], channels.data[..., [0, -1]]], axis=-1)
    joint = MriChannels(data, channels.T_index_mri, (*unlike.ridge, channels.ridge[0]), 1)
    window, coarse = observe(frames, settings), observe(frames, settings.coarse())
    return make_levels(window, coarse, joint, make_coarse_channels(volume, settings), settings)


def test_all_levels_but_the_last_go_by_lc2(decided: Levels, levels: Levels) -> None:
    for level in (decided.coarse, decided.thin, decided.apart, decided.fine):
        assert len(level.channels.ridge) == 2
    assert len(decided.last.channels.ridge) == 3
    assert levels.last is levels.fine  # where there is nothing else


@pytest.mark.parametrize("known_as", ["mode", "peak", "runner-up"])
def test_the_tissue_decides_between_what_lc2_found(
    decided: Levels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
    T_far: np.ndarray,
    known_as: str,
) -> None:
    """LC2 ranks a wrong pose first: it knows nothing of the right one but that it is a pose."""
    near = turn_about_centre(decided.fine.centre_world_mm, T_true, np.array([0.4, 0.3, 0, 0, 0, 0]))
    wrong, right = (replace(refine(decided.fine, T, 0), score=score)
                    for T, score in ((T_far, 0.9), (near, 0.8)))  # fmt: skip
    if known_as == "peak":  # beside the highest, no mode of its own
        wrong = replace(
            wrong,
            T_mri_world=turn_about_centre(
                decided.fine.centre_world_mm, near, np.array([2.0, 0, 0, 0, 0, 0])
            ),
        )
    search = GlobalSearch(decided, T_far, settings)
    search.modes = [wrong, right] if known_as == "mode" else [wrong]
    search.peaks = [wrong, right] if known_as == "peak" else list(search.modes)
    search._runners_up = [(T_far, 0.97)]
    if known_as == "runner-up":  # the last of several
        centre = decided.fine.centre_world_mm
        off = [turn_about_centre(centre, T_true, np.eye(6)[axis] * 25.0) for axis in range(3)]
        search._runners_up = [*((T, 0.97) for T in off), (near, 0.8)]
    with ThreadPoolExecutor(1) as pool:
        assert sum(search._decide(pool)) > 0
    assert decided.apart_mm(search.best.T_mri_world, T_true) < 0.1
    assert search.best.score > 0.95 and len(search.peaks) == 2
    assert len(search._runners_up) == (4 if known_as == "runner-up" else 1)
    for one in (*search.modes, *search.peaks):
        assert one.score == pytest.approx(decided.last.score(one.T_mri_world), abs=1e-5)
    assert 0.3 < search.gap < 1.0  # what LC2 gave the others counts no more


def test_peaks_are_sought_by_lc2_and_after_the_decision_by_all(
    decided: Levels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, bool]] = []

    def climbed(search: GlobalSearch, block: int, _: object) -> list[int]:
        told.append((block, search._finest is decided.last))
        return []

    monkeypatch.setattr(GlobalSearch, "_climb_nearby", climbed)
    searched(decided, T_true, settings)
    assert told == [(0, False), (1, True)]


def test_what_a_search_returns_was_weighed_by_all_channels(
    decided: Levels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    whole = searched(decided, T_true, settings)
    chance = GlobalSearch(decided, T_true, settings, first_only=16)
    local = searched(decided, T_true, replace(settings, start_count=0))
    chance.advance()
    for search in (whole, chance, local):
        for one in (*search.modes, *search.peaks):
            assert one.score == pytest.approx(decided.last.score(one.T_mri_world), abs=1e-5)
    assert decided.apart_mm(whole.best.T_mri_world, T_true) < 3.0


def test_the_modes_differ_and_come_in_order(
    levels: Levels, settings: RegistrationSettings, T_far: np.ndarray
) -> None:
    modes = searched(levels, T_far, settings).modes
    scores = [mode.score for mode in modes]
    assert len(modes) >= 2 and scores[0] == max(scores)
    for number, mode in enumerate(modes):
        for other in modes[:number]:
            assert levels.apart_mm(mode.T_mri_world, other.T_mri_world) > 1.0


def test_work_in_parts_gives_the_same_as_at_once(
    levels: Levels, settings: RegistrationSettings, T_far: np.ndarray
) -> None:
    whole = searched(levels, T_far, settings)
    parts, steps = GlobalSearch(levels, T_far, settings), 1
    while not parts.advance(100):
        steps += 1
    assert steps > 3
    np.testing.assert_array_equal(parts.best.T_mri_world, whole.best.T_mri_world)
    assert (parts.gap, parts.best.score) == (whole.gap, whole.best.score)


def test_rounds_are_added_until_the_lead_is_clear(
    levels: Levels, settings: RegistrationSettings, T_far: np.ndarray
) -> None:
    asked = replace(settings, max_rounds=3, search_gap=1.0)
    assert searched(levels, T_far, asked).rounds == 3
    assert searched(levels, T_far, replace(asked, search_gap=0.0, start_count=512)).rounds == 1


def test_mirrored_images_do_not_fit(
    levels: Levels,
    frames: list[TrackedFrame],
    volume: Volume,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    window, coarse = observe(frames, settings), observe(frames, settings.coarse())
    turned = mirrored(window)
    np.testing.assert_array_equal(turned.values[:, 0], window.values[:, -1])
    np.testing.assert_array_equal(mirrored(turned).values, window.values)
    chance = make_levels(
        turned, mirrored(coarse), channels, make_coarse_channels(volume, settings), settings
    )
    own, other = searched(levels, T_true, settings), searched(chance, T_true, settings)
    assert other.best.score < 0.7 * own.best.score


def test_a_start_outside_the_mri_ends_without_a_lead(
    levels: Levels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    far = T_true.copy()
    far[0, 3] += 500.0
    search = searched(levels, far, settings)
    assert search.best.score == 0.0 and not search.gap > 0.0


def test_the_coarse_volume_halves_a_fine_one(
    volume_of: Callable[..., Volume], settings: RegistrationSettings
) -> None:
    fine = make_coarse_channels(volume_of(seed=3), replace(settings, coarse_grid_mm=1.5))
    same = make_coarse_channels(volume_of(seed=3), replace(settings, coarse_grid_mm=1.0))
    assert fine.data.shape[:3] == (22, 22, 22) and same.data.shape[:3] == (44, 44, 44)
    # The middle of the volume is the middle of both grids: (44 - 1) / 2 and (22 - 1) / 2.
    np.testing.assert_allclose(same.T_index_mri[:3, 3], 21.5)
    np.testing.assert_allclose(fine.T_index_mri[:3, 3], 10.5)
