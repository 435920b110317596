"""A registered pose follows a patient who moves, and stays where the images show nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from us_recon.geometry.rigid import exp_se3, invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels
from us_recon.registration.observation import observe
from us_recon.registration.recent import RecentFrames
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.tracking import PatientTracker, Tracked, within
from us_recon.registration.tracking_filter import Belief

CORNERS_MM = np.array([[x, y, z] for x in (-10.0, 10.0) for y in (-10, 10) for z in (-4, 4)])
KNOWN = np.diag([0.2, 0.2, 0.2, 0.01, 0.01, 0.01]) ** 2
STEP_S = 0.1


@pytest.fixture(scope="module")
def noisy(volume: Volume, frames_of: Callable[..., list[TrackedFrame]]) -> list[TrackedFrame]:
    return frames_of(volume, noise=20.0)


@pytest.fixture
def tracker(
    channels: MriChannels,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> PatientTracker:
    window = observe(noisy, settings)
    registered = Belief(invert_rigid(T_world_mri), KNOWN, window.centre_world_mm, 0)
    return PatientTracker(channels, settings, registered, window)


def error_mm(T: np.ndarray, T_world_mri: np.ndarray) -> float:
    difference = transform_points(T, CORNERS_MM) - transform_points(T_world_mri, CORNERS_MM)
    return float(np.linalg.norm(difference, axis=1).mean())


def shift(x_mm: float, y_mm: float = 0.0, z_mm: float = 0.0) -> np.ndarray:
    return make_rigid(np.eye(3), np.array([x_mm, y_mm, z_mm]))


def seen(frames: Sequence[TrackedFrame], moves: Sequence[np.ndarray]) -> list[TrackedFrame]:
    """A probe that goes to and fro on a patient who has moved, in the world, by each of these."""
    way = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return [
        replace(
            frames[way[number % len(way)]],
            stamp_ns=round(1e9 * STEP_S * (number + 1)),
            T_world_transducer=move @ frames[way[number % len(way)]].T_world_transducer,
        )
        for number, move in enumerate(moves)
    ]


def follow(
    tracker: PatientTracker, settings: RegistrationSettings, frames: Sequence[TrackedFrame]
) -> list[Tracked]:
    """What the tracker says at each frame, until it loses the patient."""
    recent, found = RecentFrames(settings), []
    for frame in frames:
        recent.add(frame)
        found.append(tracker.follow(recent))
        if found[-1].lost:
            break
    return found


def test_a_patient_who_moves_is_followed(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    # 3 mm in 3 s, and 3 degrees about the middle of the MRI.
    about = T_world_mri[:3, 3]
    moves = [
        shift(*(3.0 * phase * np.array([0.6, 0.0, 0.8])))
        @ shift(*about)
        @ exp_se3(np.array([0.0, 0.0, 0.0, 0.0, np.radians(3.0 * phase), 0.0]))
        @ shift(*-about)
        for phase in np.linspace(0.0, 1.0, 31)
    ]
    found = follow(tracker, settings, seen(noisy, moves))
    errors = [
        error_mm(tracked.T_world_mri, move @ T_world_mri)
        for tracked, move in zip(found, moves, strict=True)
    ]
    left_alone = error_mm(T_world_mri, moves[-1] @ T_world_mri)
    assert left_alone > 2.9 and tracker.moved
    assert max(errors) < 0.8 and errors[-1] < 0.5
    assert not any(tracked.doubt or tracked.lost for tracked in found)
    assert "following a patient who moves" in found[-1].message
    # The covariance knows about how well: within three standard deviations of each axis.
    assert np.sqrt(np.trace(found[-1].covariance[:3, :3])) > errors[-1] / 3.0


def test_a_patient_at_rest_stays_where_he_was_registered(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    found = follow(tracker, settings, seen(noisy, [np.eye(4)] * 12))
    for tracked in found:
        np.testing.assert_allclose(tracked.T_world_mri, T_world_mri, atol=1e-12)
    assert not tracker.moved and "at rest" in found[-1].message
    assert found[-1].score > found[-1].least_score > found[-1].beside_score


@pytest.mark.parametrize("moved", [False, True])
def test_the_pose_stays_exactly_where_nothing_is_seen(
    moved: bool, tracker: PatientTracker, settings: RegistrationSettings, noisy: list[TrackedFrame]
) -> None:
    moves = [shift(0.15 * number * moved) for number in range(11)]
    dark = [replace(frame, image=np.zeros_like(frame.image)) for frame in noisy]
    known = seen(noisy, moves)
    unseen = seen([*noisy, *dark][5:], [moves[-1]] * 60)
    unseen = [replace(f, stamp_ns=f.stamp_ns + known[-1].stamp_ns + 10**9) for f in unseen]
    before, *after = follow(tracker, settings, [*known, *unseen])[10:]
    assert tracker.moved is moved
    assert len(after) > 5
    for tracked in after:
        np.testing.assert_array_equal(tracked.T_world_mri, before.T_world_mri)
        assert "too little to see" in tracked.doubt and np.isnan(tracked.score)
    # Nobody knows where he is after a while. Only then it is withdrawn.
    confidence = [tracked.confidence for tracked in after]
    assert confidence == sorted(confidence, reverse=True)
    assert [tracked.lost for tracked in after] == [False] * (len(after) - 1) + [True]
    assert [tracked.trusted for tracked in after] == [not tracked.lost for tracked in after]
    assert after[-1].confidence < settings.min_confidence <= after[-2].confidence
    assert after[-1].message.startswith("withdrawn: too little to see; confidence 0.")


def test_a_jump_is_not_followed_but_withdrawn(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    moves = [np.eye(4)] * 6 + [shift(0.0, 12.0)] * 60
    found = follow(tracker, settings, seen(noisy, moves))
    for tracked in found:
        assert error_mm(tracked.T_world_mri, T_world_mri) < 0.5
    # Until old images have left the window, a window's time to be an error of the images, and two
    # more to fit again: 0.4 to 1, 1 and 2 s.
    first = next(number for number, tracked in enumerate(found) if not tracked.trusted)
    assert 6 + 10 < first <= 6 + 20
    assert found[first].message.startswith("withdrawn: the images hardly fit any more: lead")
    assert not any(tracked.trusted for tracked in found[first:])
    assert not found[first].lost and found[-1].lost and len(found) == first + 21
    assert found[-1].message.endswith("searching anew")


def test_a_withdrawn_pose_comes_back_with_images_that_fit(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    away = [np.eye(4)] * 6 + [shift(0.0, 12.0)] * 22 + [np.eye(4)] * 8
    found = follow(tracker, settings, seen(noisy, away))
    assert len(found) == len(away) and not found[-9].trusted
    assert found[-1].trusted and found[-1].message.startswith("following")
    assert error_mm(found[-1].T_world_mri, T_world_mri) < 0.5


def test_a_slip_is_caught_up_with(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    found = follow(tracker, settings, seen(noisy, [np.eye(4)] * 6 + [shift(3.0)] * 12))
    assert all(tracked.trusted for tracked in found)
    assert error_mm(found[-1].T_world_mri, shift(3.0) @ T_world_mri) < 0.5


def test_a_single_bad_image_changes_nothing(
    tracker: PatientTracker,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    frames = seen(noisy, [np.eye(4)] * 14)
    frames[7] = replace(frames[7], image=frames[7].image[::-1].copy())
    found = follow(tracker, settings, frames)
    assert len(found) == 14 and not found[-1].lost and not found[-1].doubt
    assert max(error_mm(tracked.T_world_mri, T_world_mri) for tracked in found) < 0.5


def test_equal_runs_are_equal(
    channels: MriChannels,
    settings: RegistrationSettings,
    noisy: list[TrackedFrame],
    T_world_mri: np.ndarray,
) -> None:
    frames = seen(noisy, [shift(0.0, 0.1 * number) for number in range(12)])
    window = observe(noisy, settings)
    registered = Belief(invert_rigid(T_world_mri), KNOWN, window.centre_world_mm, 0)
    one, other = (
        follow(PatientTracker(channels, settings, registered, window), settings, frames)[-1]
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.T_world_mri, other.T_world_mri)
    np.testing.assert_array_equal(one.covariance, other.covariance)
    assert one.message == other.message


def test_the_probability_of_being_near_is_that_of_a_sphere() -> None:
    # A standard deviation of 1 mm on each axis: the chance to be within 3 mm is
    # erf(3 / sqrt 2) - sqrt(2 / pi) * 3 * exp(-4.5) = 0.99730 - 0.02659 = 0.97071.
    covariance = np.eye(6)
    assert within(covariance, 3.0) == pytest.approx(0.97071, abs=1e-5)
    turned = make_rigid(Rotation.from_rotvec([0.3, 0.2, 0.1]).as_matrix(), np.zeros(3))[:3, :3]
    covariance[:3, :3] = turned @ np.diag([0.5, 1.0, 1.5]) @ turned.T
    assert within(covariance, 3.0) == pytest.approx(0.97071, abs=1e-5)
