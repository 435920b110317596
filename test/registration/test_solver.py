"""The refinement: its gradient, its curvature, and poses it has to find again."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from us_recon.geometry import se3_torch
from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.registration import solver
from us_recon.registration.channels import MriChannels
from us_recon.registration.observation import observe
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import Lc2, make_lc2
from us_recon.registration.solver import linearise, refine, turn_about_centre

STARTS = [
    np.array([2.5, -1.0, 1.0, 0.05, -0.06, 0.03]),
    np.array([-1.5, 2.0, 1.5, -0.04, 0.05, 0.05]),
    np.array([0.5, 1.5, -2.0, 0.06, 0.02, -0.05]),
]
STEPS = 25


@pytest.fixture(scope="module")
def lc2(frames: list[TrackedFrame], channels: MriChannels, settings: RegistrationSettings) -> Lc2:
    return make_lc2(observe(frames, settings), channels, settings)


@pytest.fixture(scope="module")
def T_true(T_world_mri: np.ndarray) -> np.ndarray:
    return invert_rigid(T_world_mri)


def error_mm(lc2: Lc2, T: np.ndarray, T_true: np.ndarray) -> float:
    """Mean distance by which two poses differ on the images."""
    points = lc2.points_world_mm.double().numpy()
    difference = transform_points(T, points) - transform_points(T_true, points)
    return float(np.linalg.norm(difference, axis=1).mean())


def test_the_gradient_equals_central_differences(lc2: Lc2, T_true: np.ndarray) -> None:
    T = turn_about_centre(lc2, T_true, 0.4 * STARTS[0])
    steps = np.eye(6) * np.repeat([1e-2, 1e-3], 3)
    differences = np.array(
        [
            (lc2.score(turn_about_centre(lc2, T, step))
             - lc2.score(turn_about_centre(lc2, T, -step))) / (2.0 * np.abs(step).sum())
            for step in steps
        ]
    )  # fmt: skip
    gradient = linearise(lc2, T).gradient
    assert np.linalg.norm(gradient) > 0.1
    # The images lie some 10 mm around their centre: in mm, a radian counts 10.
    per_mm = np.repeat([1.0, 0.1], 3)
    error = np.abs((gradient - differences) * per_mm)
    assert error.max() < 1e-3 * np.linalg.norm(gradient * per_mm)


def test_the_gradient_equals_that_of_the_readable_twin(lc2: Lc2, T_true: np.ndarray) -> None:
    T = turn_about_centre(lc2, T_true, 0.4 * STARTS[1])
    centre = torch.from_numpy(transform_points(T, lc2.window.centre_world_mm).astype(np.float32))
    base = torch.from_numpy(T.astype(np.float32))
    twist = torch.zeros(6, requires_grad=True)
    turned = se3_torch.exp_se3(twist)
    R, t = turned[:3, :3], turned[:3, 3]
    moved = se3_torch.assemble(R @ base[:3, :3], R @ (base[:3, 3] - centre) + centre + t)
    (expected,) = torch.autograd.grad(lc2(moved), twist)
    np.testing.assert_allclose(linearise(lc2, T).gradient, expected, rtol=2e-3, atol=2e-4)


def test_at_the_truth_the_curvature_is_that_of_the_score(lc2: Lc2, T_true: np.ndarray) -> None:
    # The residual vanishes there, so that the Gauss-Newton matrix is the full second derivative:
    # along each axis the score falls by curvature / 2 * step^2.
    T = refine(lc2, T_true, STEPS).T_mri_world
    here = linearise(lc2, T)
    for axis, step in enumerate(np.eye(6) * np.repeat([0.2, 0.02], 3)):
        ahead, behind = (lc2.score(turn_about_centre(lc2, T, sign * step)) for sign in (1, -1))
        second = (2.0 * here.score - ahead - behind) / np.abs(step).sum() ** 2
        assert here.curvature[axis, axis] == pytest.approx(second, rel=0.25)


@pytest.mark.parametrize("start", STARTS)
def test_a_known_pose_is_found_again(lc2: Lc2, T_true: np.ndarray, start: np.ndarray) -> None:
    T = turn_about_centre(lc2, T_true, start)
    assert error_mm(lc2, T, T_true) > 2.0
    found = refine(lc2, T, STEPS)
    assert error_mm(lc2, found.T_mri_world, T_true) < 0.05
    assert found.converged and found.iterations <= STEPS
    assert found.score == pytest.approx(lc2.score(found.T_mri_world))


def test_without_the_gradient_nothing_is_found(
    lc2: Lc2, T_true: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recovery test can fail: with a gradient of zero the pose stays where it is."""
    real = solver.linearise

    def cut(lc2: Lc2, T: np.ndarray) -> solver.Linearisation:
        here = real(lc2, T)
        return solver.Linearisation(here.score, np.zeros(6), here.curvature)

    monkeypatch.setattr(solver, "linearise", cut)
    found = refine(lc2, turn_about_centre(lc2, T_true, STARTS[0]), STEPS)
    assert error_mm(lc2, found.T_mri_world, T_true) > 2.0


def test_speckle_moves_the_pose_little(
    frames_of: Callable[..., list[TrackedFrame]],
    volume: object,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    noisy = make_lc2(observe(frames_of(volume, noise=60.0), settings), channels, settings)
    found = refine(noisy, turn_about_centre(noisy, T_true, STARTS[2]), STEPS)
    assert found.score < 0.8
    assert error_mm(noisy, found.T_mri_world, T_true) < 0.4


def test_the_score_never_falls_and_equal_runs_are_equal(lc2: Lc2, T_true: np.ndarray) -> None:
    T = turn_about_centre(lc2, T_true, STARTS[1])
    scores = [refine(lc2, T, steps).score for steps in (0, 1, 3, 8)]
    assert scores == sorted(scores) and scores[0] == pytest.approx(lc2.score(T))
    first, second = refine(lc2, T, STEPS), refine(lc2, T, STEPS)
    np.testing.assert_array_equal(first.T_mri_world, second.T_mri_world)


def test_outside_the_mri_the_refinement_stays_put(lc2: Lc2, T_true: np.ndarray) -> None:
    far = T_true.copy()
    far[0, 3] += 500.0
    found = refine(lc2, far, STEPS)
    assert found.score == 0.0 and np.all(np.isfinite(found.T_mri_world))
    np.testing.assert_allclose(found.T_mri_world, far)
