"""The refinement: its gradient, its curvature, and poses it has to find again."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from us_recon.geometry import se3_torch
from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import Linearisation, Objective, make_objective
from us_recon.registration.observation import observe
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import make_lc2
from us_recon.registration.solver import refine, turn_about_centre

STARTS = [
    np.array([2.5, -1.0, 1.0, 0.05, -0.06, 0.03]),
    np.array([-1.5, 2.0, 1.5, -0.04, 0.05, 0.05]),
    np.array([0.5, 1.5, -2.0, 0.06, 0.02, -0.05]),
]
STEPS = 25


@pytest.fixture(scope="module")
def objective(
    frames: list[TrackedFrame], channels: MriChannels, settings: RegistrationSettings
) -> Objective:
    return make_objective(observe(frames, settings), channels, settings)


@pytest.fixture(scope="module")
def T_true(T_world_mri: np.ndarray) -> np.ndarray:
    return invert_rigid(T_world_mri)


def turned(objective: Objective, T: np.ndarray, twist: np.ndarray) -> np.ndarray:
    return turn_about_centre(objective.centre_world_mm, T, twist)


def error_mm(objective: Objective, T: np.ndarray, T_true: np.ndarray) -> float:
    """Mean distance by which two poses differ on the images."""
    points = objective.patches.points_world_mm + objective.centre_world_mm
    difference = transform_points(T, points) - transform_points(T_true, points)
    return float(np.linalg.norm(difference, axis=1).mean())


def test_the_gradient_equals_central_differences(objective: Objective, T_true: np.ndarray) -> None:
    T = turned(objective, T_true, 0.4 * STARTS[0])
    steps = np.eye(6) * np.repeat([1e-2, 1e-3], 3)
    differences = np.array(
        [
            (objective.score(turned(objective, T, step))
             - objective.score(turned(objective, T, -step))) / (2.0 * np.abs(step).sum())
            for step in steps
        ]
    )  # fmt: skip
    gradient = objective.linearise(T).gradient
    assert np.linalg.norm(gradient) > 0.1
    # The images lie some 10 mm around their centre: in mm, a radian counts 10.
    per_mm = np.repeat([1.0, 0.1], 3)
    error = np.abs((gradient - differences) * per_mm)
    assert error.max() < 1e-3 * np.linalg.norm(gradient * per_mm)


def test_the_gradient_equals_that_of_the_readable_twin(
    objective: Objective,
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    lc2 = make_lc2(observe(frames, settings), channels, settings)
    T = turned(objective, T_true, 0.4 * STARTS[1])
    centre = torch.from_numpy(transform_points(T, lc2.window.centre_world_mm).astype(np.float32))
    base = torch.from_numpy(T.astype(np.float32))
    twist = torch.zeros(6, requires_grad=True)
    moving = se3_torch.exp_se3(twist)
    R, t = moving[:3, :3], moving[:3, 3]
    moved = se3_torch.assemble(R @ base[:3, :3], R @ (base[:3, 3] - centre) + centre + t)
    (expected,) = torch.autograd.grad(lc2(moved), twist)
    np.testing.assert_allclose(objective.linearise(T).gradient, expected, rtol=2e-3, atol=2e-4)


def test_at_the_truth_the_curvature_is_that_of_the_score(
    objective: Objective, T_true: np.ndarray
) -> None:
    # The residual vanishes there, so that the Gauss-Newton matrix is the full second derivative:
    # along each axis the score falls by curvature / 2 * step^2.
    T = refine(objective, T_true, STEPS).T_mri_world
    here = objective.linearise(T)
    for axis, step in enumerate(np.eye(6) * np.repeat([0.2, 0.02], 3)):
        ahead, behind = (objective.score(turned(objective, T, sign * step)) for sign in (1, -1))
        second = (2.0 * here.score - ahead - behind) / np.abs(step).sum() ** 2
        assert here.curvature[axis, axis] == pytest.approx(second, rel=0.25)


@pytest.mark.parametrize("start", STARTS)
def test_a_known_pose_is_found_again(
    objective: Objective, T_true: np.ndarray, start: np.ndarray
) -> None:
    T = turned(objective, T_true, start)
    assert error_mm(objective, T, T_true) > 2.0
    found = refine(objective, T, STEPS)
    assert error_mm(objective, found.T_mri_world, T_true) < 0.05
    assert found.converged and found.iterations <= STEPS
    assert found.score == pytest.approx(objective.score(found.T_mri_world))


def test_without_the_gradient_nothing_is_found(
    objective: Objective, T_true: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recovery test can fail: with a gradient of zero the pose stays where it is."""
    real = Objective.linearise

    def cut(self: Objective, T: np.ndarray) -> Linearisation:
        here = real(self, T)
        return Linearisation(here.score, np.zeros(6), here.curvature)

    monkeypatch.setattr(Objective, "linearise", cut)
    found = refine(objective, turned(objective, T_true, STARTS[0]), STEPS)
    assert error_mm(objective, found.T_mri_world, T_true) > 2.0


def test_speckle_moves_the_pose_little(
    frames_of: Callable[..., list[TrackedFrame]],
    volume: object,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    noisy = make_objective(observe(frames_of(volume, noise=60.0), settings), channels, settings)
    found = refine(noisy, turned(noisy, T_true, STARTS[2]), STEPS)
    assert found.score < 0.8
    assert error_mm(noisy, found.T_mri_world, T_true) < 0.4


def test_the_score_never_falls_and_equal_runs_are_equal(
    objective: Objective, T_true: np.ndarray
) -> None:
    T = turned(objective, T_true, STARTS[1])
    scores = [refine(objective, T, steps).score for steps in (0, 1, 3, 8)]
    assert scores == sorted(scores) and scores[0] == pytest.approx(objective.score(T))
    first, second = refine(objective, T, STEPS), refine(objective, T, STEPS)
    np.testing.assert_array_equal(first.T_mri_world, second.T_mri_world)


def test_outside_the_mri_the_refinement_stays_put(objective: Objective, T_true: np.ndarray) -> None:
    far = T_true.copy()
    far[0, 3] += 500.0
    found = refine(objective, far, STEPS)
    assert found.score == 0.0 and np.all(np.isfinite(found.T_mri_world))
    np.testing.assert_allclose(found.T_mri_world, far)
