"""LC2: exact combinations, invariances, and one patch against least squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.channels import GRADIENT, INTENSITY, MriChannels
from us_recon.registration.observation import BeamWindow, observe
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import Lc2, make_lc2


@pytest.fixture
def window(frames: list[TrackedFrame], settings: RegistrationSettings) -> BeamWindow:
    return observe(frames, settings)


@pytest.fixture
def T_true(T_world_mri: np.ndarray) -> np.ndarray:
    return invert_rigid(T_world_mri)


def with_values(window: BeamWindow, values: torch.Tensor) -> BeamWindow:
    return replace(window, values=(values * window.valid).float())


def combination(
    window: BeamWindow, channels: MriChannels, T: np.ndarray, alpha: float, beta: float
) -> BeamWindow:
    """The window with images that are exact combinations of the channels at a pose."""
    sampled = channels.sample_fast(window.points_world_mm.view(-1, 3), T)
    values = alpha * sampled[INTENSITY] + beta * sampled[GRADIENT] - 0.7
    return with_values(window, values.reshape(window.values.shape))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.0), (0.0, -1.5), (-0.8, 1.2)])
def test_the_score_of_an_exact_combination_is_one(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
    alpha: float,
    beta: float,
) -> None:
    lc2 = make_lc2(combination(window, channels, T_true, alpha, beta), channels, settings)
    assert lc2.score(T_true) == pytest.approx(1.0, abs=1e-3)
    moved = T_true.copy()
    moved[0, 3] += 3.0
    assert lc2.score(moved) < 0.8


def test_the_coefficients_of_an_exact_combination_are_found(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    lc2 = make_lc2(combination(window, channels, T_true, -0.8, 1.2), channels, settings)
    fit = lc2.fit(channels.sample_fast(lc2.points_world_mm, T_true))
    full = fit.weight > 0.9 * lc2.patch_weight
    for found, expected in zip(fit.coefficients, (-0.8, 1.2), strict=True):
        assert float(found[full].median()) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (1.0, 40.0), (-0.5, 7.0)])
def test_gain_and_offset_of_the_images_change_nothing(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
    gain: float,
    offset: float,
) -> None:
    rng = np.random.default_rng(0)
    speckled = window.values + torch.from_numpy(rng.normal(size=window.values.shape))
    expected = make_lc2(with_values(window, speckled), channels, settings).score(T_true)
    changed = with_values(window, gain * speckled + offset)
    assert make_lc2(changed, channels, settings).score(T_true) == pytest.approx(expected, rel=2e-3)


def test_one_patch_equals_least_squares(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
) -> None:
    rng = np.random.default_rng(4)
    u, m, g = rng.normal(size=(3, 25))
    design = np.stack([m, g, np.ones(25)], axis=1)
    coefficients, residual, *_ = np.linalg.lstsq(design, u, rcond=None)
    explained_share = 1.0 - residual[0] / 25.0 / u.var()

    one = replace(
        window,
        points_world_mm=torch.zeros(1, 5, 5, 3),
        values=torch.from_numpy(u.reshape(1, 5, 5)).float(),
        valid=torch.ones(1, 5, 5),
    )
    sampled = torch.from_numpy(np.stack([m, g, np.ones(25)])).float()
    fit = make_lc2(one, channels, settings).fit(sampled)
    lc2 = make_lc2(one, channels, settings)
    share = fit.explained.item() / lc2.patch_variance.item()
    assert share == pytest.approx(explained_share, abs=1e-4)
    found = [*fit.coefficients.flatten().tolist(), fit.gamma.item()]
    np.testing.assert_allclose(found, coefficients, atol=1e-3)


def test_samples_that_are_not_valid_do_not_count(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
    T_true: np.ndarray,
) -> None:
    valid = window.valid.clone()
    valid[:, :10] = 0.0
    masked = replace(window, valid=valid, values=window.values * valid)
    spoiled = replace(window, valid=valid, values=window.values * valid + 50.0 * (1.0 - valid))
    expected = make_lc2(masked, channels, settings).score(T_true)
    assert make_lc2(spoiled, channels, settings).score(T_true) == pytest.approx(expected, abs=1e-5)


def test_ridge_lowers_the_score_of_noise(
    window: BeamWindow, channels: MriChannels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=window.values.shape))
    noisy = with_values(window, noise)
    damped = replace(channels, ridge=(0.5, 0.5))
    free = make_lc2(noisy, channels, settings).score(T_true)
    assert make_lc2(noisy, damped, settings).score(T_true) < 0.7 * free


def test_a_pose_outside_the_mri_scores_nothing(
    window: BeamWindow, channels: MriChannels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    lc2: Lc2 = make_lc2(window, channels, settings)
    far = T_true.copy()
    far[0, 3] += 500.0
    assert lc2.score(far) == pytest.approx(0.0, abs=1e-6)


def test_the_twin_with_gradients_gives_the_same_score(
    window: BeamWindow, channels: MriChannels, settings: RegistrationSettings, T_true: np.ndarray
) -> None:
    lc2 = make_lc2(window, channels, settings)
    T = torch.from_numpy(T_true.astype(np.float32)).requires_grad_()
    score = lc2(T)
    assert score.item() == pytest.approx(lc2.score(T_true), abs=1e-4)
    (gradient,) = torch.autograd.grad(score, T)
    assert torch.isfinite(gradient).all()
