"""The compiled objective: against its readable twin, and against made-up channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels, make_channels
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import observe
from us_recon.registration.patches import make_patches
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import make_lc2
from us_recon.registration.solver import turn_about_centre

TWIST = np.array([2.0, -1.0, 0.5, 0.05, 0.02, -0.04])


@pytest.fixture(scope="module")
def T_true(T_world_mri: np.ndarray) -> np.ndarray:
    return invert_rigid(T_world_mri)


@pytest.fixture(scope="module")
def objective(
    frames: list[TrackedFrame], channels: MriChannels, settings: RegistrationSettings
) -> Objective:
    return make_objective(observe(frames, settings), channels, settings)


@pytest.mark.parametrize("shift_mm", [0.0, 3.0, 12.0, 500.0])
def test_the_score_equals_that_of_the_readable_twin(
    shift_mm: float,
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    damped = replace(settings, outside_share=0.2)
    window, ridged = observe(frames, settings), replace(channels, ridge=(0.1, 0.2))
    T = T_true.copy()
    T[1, 3] += shift_mm  # at 12 mm part of the images lies outside the MRI
    fast = make_objective(window, ridged, damped).score(T)
    assert fast == pytest.approx(make_lc2(window, ridged, damped).score(T), abs=2e-4)


def test_any_number_of_channels_equals_the_readable_twin(
    frames: list[TrackedFrame],
    volume: Volume,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    two = PatientImages((volume, replace(volume, data=volume.data[::-1].copy())))
    channels, window = make_channels(two, settings), observe(frames, settings)
    assert channels.data.shape[-1] == 5 and len(channels.ridge) == 4
    fast = make_objective(window, channels, settings).score(T_true)
    assert fast == pytest.approx(make_lc2(window, channels, settings).score(T_true), abs=2e-4)


def test_many_poses_score_as_one_does(objective: Objective, T_true: np.ndarray) -> None:
    poses = [turn_about_centre(objective.centre_world_mm, T_true, s * TWIST) for s in (0, 0.5, 1)]
    scores = objective.scores(poses)
    np.testing.assert_array_equal(scores, [objective.score(T) for T in poses])
    np.testing.assert_allclose(
        scores, [objective.linearise(T).score for T in poses], rtol=0, atol=1e-5
    )
    assert scores[0] > scores[1] > scores[2]


def test_outside_counts_as_chance(objective: Objective, T_true: np.ndarray) -> None:
    far = T_true.copy()
    far[0, 3] += 500.0
    assert objective.score(far) == 0.0 and objective.coverage(far) == 0.0
    assert replace(objective, outside_share=0.1).score(far) == pytest.approx(0.1)
    assert objective.coverage(T_true) > 0.9


def test_images_that_show_nothing_score_nothing(
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    window = observe(frames, settings)
    dark = replace(window, valid=torch.zeros_like(window.valid))
    empty = make_objective(dark, channels, settings)
    assert empty.score(T_true) == 0.0 and empty.coverage(T_true) == 0.0
    assert not empty.linearise(T_true).gradient.any()


def test_a_third_channel_explains_what_two_cannot(
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    # The brightness is the third channel; the two others are noise without a ridge.
    i, _, inside = np.moveaxis(channels.data, -1, 0)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(2, *i.shape)).astype(np.float32)
    window = observe(frames, settings)
    two = replace(channels, data=np.stack([*noise, inside], axis=-1), ridge=(0.1, 0.1))
    three = replace(channels, data=np.stack([*noise, i, inside], axis=-1), ridge=(0.1, 0.1, 0.0))
    assert make_objective(window, two, settings).score(T_true) < 0.3
    with_third = make_objective(window, three, settings)
    assert with_third.score(T_true) > 0.9
    T = turn_about_centre(with_third.centre_world_mm, T_true, 0.2 * TWIST)
    steps = np.eye(6) * np.repeat([1e-2, 1e-3], 3)
    differences = [
        (with_third.score(turn_about_centre(with_third.centre_world_mm, T, step))
         - with_third.score(turn_about_centre(with_third.centre_world_mm, T, -step)))
        / (2.0 * step.sum())
        for step in steps
    ]  # fmt: skip
    gradient = with_third.linearise(T).gradient
    np.testing.assert_allclose(gradient, differences, atol=0.02 * np.abs(gradient).max())


def test_chosen_patches_are_spread_over_the_frames(
    frames: list[TrackedFrame], settings: RegistrationSettings
) -> None:
    window = observe(frames, settings)
    every = make_patches(window, 5, 5)
    few = make_patches(window, 5, 5, max_patches=20)
    assert len(few.members) == 20 < len(every.members)
    assert len(few.values) == 500  # patches that do not overlap share no sample
    everywhere = make_patches(window, 5, 5, max_patches=10_000)
    assert len(everywhere.members) == len(every.members)
    # The frames slide along the world's axes: each has a chosen patch within a sample of its own.
    middles = few.points_world_mm[few.members[:, 12]] + few.centre_world_mm
    for points in window.points_world_mm.reshape(len(frames), -1, 3).numpy():
        assert np.linalg.norm(points[:, None] - middles, axis=2).min() < 1e-3
