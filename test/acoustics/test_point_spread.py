"""Blur: widths, sums, edges, and the compiled pass against its twin."""

import numpy as np
import pytest
import torch

from us_recon.acoustics.point_spread import (
    FWHM,
    beam_pitch_mm,
    beam_sigma,
    blur_across,
    blur_along,
    gaussian_weights,
    shifted_sum_torch,
)
from us_recon.acoustics.settings import RenderSettings, device_parameters
from us_recon.imaging.probe import ProbeGeometry


def test_an_impulse_becomes_the_weights() -> None:
    image = torch.zeros(5, 7, dtype=torch.float64)
    image[2, 3] = 1.0
    along = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    # out(n) = sum of weight(tap) * in(n + tap - 1): the impulse at 3 is seen by n = 4 through
    # the first tap and by n = 2 through the last.
    assert blur_along(image, along)[2].tolist() == [0, 0, 4, 2, 1, 0, 0]
    across = along.expand(3, 7).contiguous()
    assert blur_across(image, across)[:, 3].tolist() == [0, 4, 2, 1, 0]


def test_weights_are_gaussians_of_the_asked_width() -> None:
    weights = gaussian_weights(torch.tensor([2.0, 4.0], dtype=torch.float64), most=100)
    offsets = torch.arange(len(weights)) - len(weights) // 2
    np.testing.assert_allclose(weights.sum(dim=0), 1.0)
    # Cut at 2.5 of the widest sigma, 10 taps: that one keeps 91 % of its variance.
    spread = (weights * offsets[:, None] ** 2).sum(dim=0).sqrt()
    np.testing.assert_allclose(spread, [2.0, 4.0], rtol=0.06)


def test_the_beam_is_narrowest_at_the_focus(probe: ProbeGeometry) -> None:
    device = device_parameters(
        RenderSettings(beam_mm=1.0, focus_mm=12.0, spread_mm=8.0), 5.0, torch.float64
    )
    depths = torch.tensor([12.0, 20.0], dtype=torch.float64)
    width_mm = FWHM * beam_sigma(device, probe, depths) * beam_pitch_mm(probe, depths)
    np.testing.assert_allclose(width_mm, [1.0, np.sqrt(2.0)])


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_pass_equals_its_twin_with_gradients(axis: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((2, 3, 6, 40))).to(dtype).requires_grad_()
    shape = (15, 1) if axis == -1 else (15, 40)  # wider than the six beams
    weights = torch.from_numpy(rng.standard_normal(shape)).to(dtype).requires_grad_()
    blur = blur_along if axis == -1 else blur_across
    pull = torch.from_numpy(rng.standard_normal((2, 3, 6, 40))).to(dtype)
    fast = blur(images, weights)
    twin = shifted_sum_torch(images.detach(), weights.detach(), axis)
    torch.testing.assert_close(fast.detach(), twin)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(blur, (images[:1, :1], weights))
        (slope,) = torch.autograd.grad((fast * pull).sum(), images)
        torch.testing.assert_close(slope, shifted_sum_torch(pull, weights.detach().flip(0), axis))
