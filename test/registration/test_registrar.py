"""The registration as a node uses it: what it finds, what it refuses, and what it says."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import ConfigError, InputError
from us_recon.geometry.rigid import exp_se3, invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import Objective
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.registration.settings import RegistrationSettings

CORNERS_MM = np.array([[x, y, z] for x in (-10.0, 10.0) for y in (-10, 10) for z in (-8, 8)])
TWIST = np.array([2.0, -2.5, 1.5, 0.04, -0.05, 0.03])


@pytest.fixture(scope="module")
def T_initial(T_world_mri: np.ndarray) -> np.ndarray:
    """Off by 3.5 mm and 4 degrees in the middle of the MRI."""
    return T_world_mri @ exp_se3(TWIST)


def error_mm(T: np.ndarray, T_world_mri: np.ndarray) -> float:
    difference = transform_points(T, CORNERS_MM) - transform_points(T_world_mri, CORNERS_MM)
    return float(np.linalg.norm(difference, axis=1).mean())


def attempt(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> RegistrationUpdate:
    registration = MriRegistration(volume, settings)
    registration.set_initial(T_initial)
    for frame in frames:
        registration.add_frame(frame)
    update = registration.step()
    assert update is not None
    return update


@pytest.fixture(scope="module")
def good(
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> RegistrationUpdate:
    return attempt(volume, frames_of(volume, noise=20.0), settings, T_initial)


def test_a_true_pose_is_found_and_trusted(
    good: RegistrationUpdate, T_world_mri: np.ndarray, T_initial: np.ndarray
) -> None:
    assert error_mm(T_initial, T_world_mri) > 3.0
    assert good.trusted and "registered" in good.message
    assert error_mm(good.T_world_mri, T_world_mri) < 0.3
    assert good.score > good.score_threshold
    assert good.frames == 5 and good.stamp_ns == 200_000_000
    assert good.moved_mm == pytest.approx(3.5, abs=1.0)
    np.testing.assert_array_equal(good.T_world_mri_initial, T_initial)
    assert np.linalg.eigvalsh(good.curvature).min() > 0.0
    assert good.confidence >= 0.95 and np.linalg.eigvalsh(good.covariance).min() > 0.0


def test_equal_runs_are_equal(
    good: RegistrationUpdate,
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    again = attempt(volume, frames_of(volume, noise=20.0), settings, T_initial)
    np.testing.assert_array_equal(again.T_world_mri, good.T_world_mri)
    assert (again.score, again.gap, again.message) == (good.score, good.gap, good.message)


def test_a_pose_is_judged_by_all_channels_where_the_tissue_is_known(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registration = MriRegistration(volume, settings)
    lc2 = registration.channels
    tissue = np.random.default_rng(5).normal(size=lc2.data.shape[:3]).astype(np.float32)
    data = np.insert(lc2.data, 2, tissue, axis=-1)
    registration.channels = MriChannels(data, lc2.T_index_mri, (*lc2.ridge, 0.0), tissue_levels=1)
    for frame in frames:
        registration.add_frame(frame)
    registration.set_initial(T_initial)
    judged: list[object] = []
    monkeypatch.setattr(
        MriRegistration,
        "_mean_of_peaks",
        lambda _, search, objective: judged.append(objective) or search.best,
    )
    update = registration.step()
    assert update is not None
    (objective,) = judged
    assert isinstance(objective, Objective) and objective.channels is registration.channels
    score = objective.score(invert_rigid(update.T_world_mri))
    assert update.score == pytest.approx(score, abs=1e-5)


def test_a_search_in_many_steps_ends_where_one_in_one_step_does(
    good: RegistrationUpdate,
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    registration = MriRegistration(volume, settings)
    registration.set_initial(T_initial)
    for frame in frames_of(volume, noise=20.0):
        registration.add_frame(frame)
    assert registration.step(150) is None and registration.searching
    steps = 1
    while registration.searching:
        update = registration.step(150)
        steps += 1
    assert steps > 3 and update is not None
    np.testing.assert_array_equal(update.T_world_mri, good.T_world_mri)
    assert (update.score, update.gap, update.confidence) == (good.score, good.gap, good.confidence)


def test_a_new_guess_ends_a_search(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    registration = MriRegistration(volume, settings)
    registration.set_initial(T_initial)
    for frame in frames:
        registration.add_frame(frame)
    registration.step(10)
    assert registration.searching
    registration.set_initial(T_initial)
    assert not registration.searching


@pytest.mark.parametrize("wrong", ["flipped", "another"])
def test_a_wrong_mri_is_not_trusted(
    wrong: str,
    volume: Volume,
    volume_of: Callable[..., Volume],
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    flipped = Volume(np.ascontiguousarray(volume.data[::-1, ::-1, ::-1]), volume.T_space_index)
    update = attempt(
        flipped if wrong == "flipped" else volume_of(seed=11), frames, settings, T_initial
    )
    assert not update.trusted
    assert "needed" in update.message or "better initial pose" in update.message


def test_a_start_outside_the_mri_is_not_trusted(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    far = T_world_mri @ make_rigid(np.eye(3), np.array([300.0, 0.0, 0.0]))
    update = attempt(volume, frames, settings, far)
    assert not update.trusted and "0% of the images lie inside the MRI" in update.message
    assert update.score == 0.0 and np.all(np.isfinite(update.T_world_mri))


def test_without_a_guess_or_frames_there_is_no_attempt(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    registration = MriRegistration(volume, settings)
    assert registration.T_world_mri is None
    for frame in frames:
        registration.add_frame(frame)
    assert registration.step() is None
    other = MriRegistration(volume, settings)
    other.set_initial(T_initial)
    other.add_frame(frames[0])
    assert other.step() is None
    np.testing.assert_array_equal(other.T_world_mri, T_initial)


def test_frames_that_show_nothing_are_named(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    dark = [replace(frame, image=np.zeros_like(frame.image)) for frame in frames]
    update = attempt(volume, dark, settings, T_initial)
    assert not update.trusted and "too little to see: 0 cm2" in update.message
    np.testing.assert_array_equal(update.T_world_mri, T_initial)


def test_frames_in_one_plane_are_named(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    T = frames[2].T_world_transducer
    slid = [
        replace(frames[2], T_world_transducer=T @ make_rigid(np.eye(3), np.array([x, 0.0, 0.0])))
        for x in (-3.0, 0.0, 3.0)
    ]
    update = attempt(volume, slid, settings, T_initial)
    assert not update.trusted and "coverage too small" in update.message


def test_a_trusted_pose_is_followed_and_withdrawn_and_searched_anew(
    volume: Volume,
    frames: list[TrackedFrame],
    frames_of: Callable[..., list[TrackedFrame]],
    volume_of: Callable[..., Volume],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
    T_world_mri: np.ndarray,
) -> None:
    registration = MriRegistration(volume, settings)
    registration.set_initial(T_initial)
    for frame in frames:
        registration.add_frame(frame)
    first = registration.step()
    assert first is not None and first.trusted and registration.following
    second = registration.step()
    assert second is first  # nothing new was seen
    registration.add_frame(later(frames[2], 0.25))
    third = registration.step()
    # Those of 50 and 150 ms gave way to newer ones: 80 ms apart are enough.
    assert third is not None and third.trusted and third.frames == 4
    assert third.message.startswith("following")
    np.testing.assert_array_equal(registration.T_world_mri, third.T_world_mri)

    others = frames_of(volume_of(seed=11))  # from now on, somebody else's images
    updates = []
    for number in range(100):
        registration.add_frame(later(others[number % 5], 0.3 + 0.05 * number))
        updates.append(registration.step())
        if not registration.following:
            break
    trusted = [update is not None and update.trusted for update in updates]
    assert trusted == sorted(trusted, reverse=True) and trusted[0]
    lost = updates[-1]
    assert lost is not None and not lost.trusted and lost.message.startswith("withdrawn: ")
    assert error_mm(lost.T_world_mri, T_world_mri) < 0.5
    assert registration.window.frames == []

    for number, frame in enumerate(frames):
        registration.add_frame(later(frame, 10.0 + 0.05 * number))
    again = registration.step()
    assert again is not None and again.trusted and again.message.startswith("registered")
    assert error_mm(again.T_world_mri, T_world_mri) < 0.3


def later(frame: TrackedFrame, time_s: float) -> TrackedFrame:
    return replace(frame, stamp_ns=round(1e9 * time_s))


def test_a_failed_attempt_is_repeated_only_with_new_frames(
    volume_of: Callable[..., Volume],
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
) -> None:
    registration = MriRegistration(volume_of(seed=11), replace(settings, retry_keyframes=2))
    registration.set_initial(T_initial)
    for frame in frames[:3]:
        registration.add_frame(frame)
    first = registration.step()
    assert first is not None and not first.trusted and registration.step() is first
    registration.add_frame(frames[3])
    assert registration.step() is first
    registration.add_frame(frames[4])
    again = registration.step()
    assert again is not first and again is not None and again.frames == 5
    registration.set_initial(T_initial)
    assert registration.step() is not again


def test_a_guess_that_is_not_rigid_is_refused(
    volume: Volume, settings: RegistrationSettings
) -> None:
    registration = MriRegistration(volume, settings)
    for wrong in (np.full((4, 4), np.nan), np.diag([1.0, 1.0, -1.0, 1.0]), np.eye(4) * 2.0):
        with pytest.raises(InputError, match="rigid"):
            registration.set_initial(wrong)


def test_the_expected_image_has_the_frames_size(
    volume: Volume,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    image = MriRegistration(volume, settings).expected_image(frames[0], T_world_mri)
    assert image.shape == frames[0].image.shape and image.dtype == np.uint8
    assert image.std() > 5.0


def rested(
    registration: MriRegistration, frames: list[TrackedFrame], T_initial: np.ndarray
) -> RegistrationUpdate:
    """Register on the first three frames, then follow through the others."""
    registration.set_initial(T_initial)
    for number, frame in enumerate(frames):
        registration.add_frame(frame)
        if number >= 2:
            update = registration.step()
    assert update is not None and update.trusted
    return update


def test_the_pose_of_a_patient_at_rest_gets_better_as_more_is_seen(
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
    T_world_mri: np.ndarray,
) -> None:
    frames, eager = frames_of(volume, noise=40.0), replace(settings, retry_keyframes=2)
    first = rested(MriRegistration(volume, eager), frames[:3], T_initial)
    registration = MriRegistration(volume, eager)
    # Seen a second time: the refinement takes place between the frames, a few steps at a time.
    later = [replace(frame, stamp_ns=frame.stamp_ns + 10**9) for frame in frames] * 3
    later = [replace(frame, stamp_ns=10**9 + number * 10**8) for number, frame in enumerate(later)]
    last = rested(registration, [*frames, *later], T_initial)
    assert error_mm(last.T_world_mri, T_world_mri) < 0.8 * error_mm(first.T_world_mri, T_world_mri)
    assert "at rest" in last.message


def test_a_run_that_ends_refines_the_pose_at_rest_on_all_frames(
    volume: Volume,
    frames_of: Callable[..., list[TrackedFrame]],
    settings: RegistrationSettings,
    T_initial: np.ndarray,
    T_world_mri: np.ndarray,
) -> None:
    registration = MriRegistration(volume, settings)
    frames = frames_of(volume, noise=40.0)
    before = rested(registration, frames, T_initial)
    update = registration.finish()
    assert update is not None and update.trusted and update.frames == len(frames)
    assert error_mm(update.T_world_mri, T_world_mri) < error_mm(before.T_world_mri, T_world_mri)
    assert update.score > update.score_threshold > update.chance_score
    np.testing.assert_array_equal(registration.T_world_mri, update.T_world_mri)
    attempted = attempt(volume, frames, settings, T_initial)
    assert error_mm(update.T_world_mri, attempted.T_world_mri) < 0.05
    spread = [np.trace(one.covariance) for one in (update, attempted)]
    assert spread[0] == pytest.approx(spread[1], rel=0.2)


def test_settings_built_in_code_are_checked(volume: Volume) -> None:
    with pytest.raises(ConfigError, match="threads is 0"):
        MriRegistration(volume, RegistrationSettings(threads=0))
