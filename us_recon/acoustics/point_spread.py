"""Blur by pulse and beam: Gaussian along the beam, Gaussian and wider off the focus across it."""

from math import ceil, log, pi, sqrt
from types import EllipsisType

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from us_recon.acoustics.propagation import is_compiled_for
from us_recon.acoustics.settings import DeviceParameters
from us_recon.compiled import compiled, in_threads
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

_SIGMAS = 2.5  # at which the Gaussians are cut
_LEAST_SIGMA = 0.05
FWHM = 2.0 * sqrt(2.0 * log(2.0))
"""Width at half height of a Gaussian of standard deviation 1."""


def pulse_weights(
    pulse_mm: Float[Tensor, ""], step_mm: float, most: int
) -> Float[Tensor, "taps 1"]:
    """Return the weights of the samples around one, of sum 1. Gradients flow."""
    return gaussian_weights((pulse_mm / (FWHM * step_mm)).reshape(1), most)


def beam_weights(
    device: DeviceParameters, probe: ProbeGeometry, depths_mm: Float[Tensor, " samples"]
) -> Float[Tensor, "taps samples"]:
    """Return the weights of the beams around one at every depth, of sum 1. Gradients flow."""
    return gaussian_weights(beam_sigma(device, probe, depths_mm), probe.beam_count // 2)


def beam_sigma(
    device: DeviceParameters, probe: ProbeGeometry, depths_mm: Float[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Return the standard deviation of the blur across the beams, in beams, at every depth.

    Off the focus the width grows as that of a Gaussian beam does.
    """
    off_focus = (depths_mm - device.focus_mm) / device.spread_mm
    width_mm = device.beam_mm * (1.0 + off_focus * off_focus).sqrt()
    return width_mm / (FWHM * beam_pitch_mm(probe, depths_mm))


def beam_pitch_mm(
    probe: ProbeGeometry, depths_mm: Float[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Return the distance of neighbouring beams at every depth."""
    if probe.kind == ProbeKind.LINEAR:
        return torch.full_like(depths_mm, probe.width_mm / probe.beam_count)
    pitch_rad = float(probe.beam_angles_rad[1] - probe.beam_angles_rad[0])
    # A phased array's beams meet at the face; the aperture keeps them apart there.
    return ((probe.radius_mm + depths_mm) * pitch_rad).clamp(min=0.05)


def gaussian_weights(sigma: Float[Tensor, " n"], most: int) -> Float[Tensor, "taps n"]:
    """Return sampled Gaussians of sum 1, with at most `most` taps to each side.

    Each is cut where it is small, so that narrow ones need not be summed as far as wide ones.
    """
    widest = float(sigma.detach().max())
    reach = min(max(1, ceil(_SIGMAS * widest)), most)
    offsets = torch.arange(-reach, reach + 1, dtype=sigma.dtype, device=sigma.device)
    distance = offsets[:, None] / sigma.clamp(min=_LEAST_SIGMA)
    weights = torch.where(distance.abs() <= _SIGMAS, torch.exp(-0.5 * distance * distance), 0.0)
    return weights / weights.sum(dim=0)


def speckle_variance(sigma_mm: Float[Tensor, "*n"], grain_mm: float) -> Float[Tensor, "*n"]:
    """Return what blur along one axis leaves of the variance of scatterers `grain_mm` apart.

    1 without blur; for a wide one, as of white noise, ``length / (2 sqrt(pi) sigma)`` with the
    length over which linearly interpolated scatterers are alike: 3/2 of their distance.
    """
    return (1.0 + 4.0 * pi * (sigma_mm / (1.5 * grain_mm)) ** 2).rsqrt()


def blur_along(
    images: Float[Tensor, "*k beams samples"], weights: Float[Tensor, "taps 1"]
) -> Float[Tensor, "*k beams samples"]:
    """Sum images shifted along the beams, weighted; beyond the ends is nothing.

    Gradients flow to images and weights, once.
    """
    blurred: Tensor = _Blur.apply(images.contiguous(), weights, -1)  # type: ignore[no-untyped-call]
    return blurred


def blur_across(
    images: Float[Tensor, "*k beams samples"], weights: Float[Tensor, "taps samples"]
) -> Float[Tensor, "*k beams samples"]:
    """Sum images shifted across the beams, weighted by depth; beyond the ends is nothing.

    Gradients flow to images and weights, once.
    """
    blurred: Tensor = _Blur.apply(images.contiguous(), weights, -2)  # type: ignore[no-untyped-call]
    return blurred


class _Blur(torch.autograd.Function):
    """Keeps the images and the weights alone, where autograd would keep every shifted product."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, images: Tensor, weights: Tensor, axis: int
    ) -> Tensor:
        ctx.save_for_backward(images, weights)
        ctx.axis = axis  # type: ignore[attr-defined]
        return _shifted_sum(images, weights, axis)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, pull: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        images, weights = ctx.saved_tensors  # type: ignore[attr-defined]
        axis = ctx.axis  # type: ignore[attr-defined]
        for_images, for_weights, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        by_images = _shifted_sum(pull.contiguous(), weights.flip(0), axis) if for_images else None
        by_weights = _by_weights(images, weights, pull, axis) if for_weights else None
        return by_images, by_weights, None


def _shifted_sum(images: Tensor, weights: Tensor, axis: int) -> Tensor:
    if not is_compiled_for(images):
        return shifted_sum_torch(images, weights, axis)
    total = torch.empty_like(images)
    stack = images.detach().view(-1, *images.shape[-2:]).numpy()
    sums = total.view(-1, *images.shape[-2:]).numpy()
    taps = weights.detach().contiguous().numpy()
    kernel = _sum_along if axis == -1 else _sum_across
    beams = len(stack) * images.shape[-2]
    in_threads(beams, lambda low, high: kernel(stack, taps, sums, low, high))
    return total


def shifted_sum_torch(images: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Return the weighted sum in plain PyTorch, on any device: the twin of the compiled pass."""
    reach, total = len(weights) // 2, torch.zeros_like(images)
    for tap, weight in enumerate(weights):
        to, of = _overlap(images.shape[axis], tap - reach)
        total[_along(axis, to)].addcmul_(images[_along(axis, of)], weight)
    return total


def _by_weights(images: Tensor, weights: Tensor, pull: Tensor, axis: int) -> Tensor:
    reach, slopes = len(weights) // 2, torch.empty_like(weights)
    for tap in range(len(weights)):
        to, of = _overlap(images.shape[axis], tap - reach)
        product = pull[_along(axis, to)] * images[_along(axis, of)]
        slopes[tap] = product.flatten(0, -2).sum(dim=0) if weights.shape[1] > 1 else product.sum()
    return slopes


def _overlap(count: int, shift: int) -> tuple[slice, slice]:
    """Return where a shifted image lands, and which part of it."""
    return (
        slice(max(0, -shift), max(0, min(count, count - shift))),
        slice(max(0, shift), max(0, min(count, count + shift))),
    )


def _along(axis: int, part: slice) -> tuple[EllipsisType | slice, ...]:
    return (..., part) if axis == -1 else (..., part, slice(None))


Array = NDArray[np.float64]


@compiled
def _sum_along(images: Array, weights: Array, total: Array, low: int, high: int) -> None:
    beams, samples = images.shape[1], images.shape[2]
    reach = weights.shape[0] // 2
    for beam_of_all in range(low, high):
        line = images[beam_of_all // beams, beam_of_all % beams]
        blurred = total[beam_of_all // beams, beam_of_all % beams]
        blurred[:] = 0.0
        for tap in range(weights.shape[0]):
            shift, weight = tap - reach, weights[tap, 0]
            first, last = max(0, -shift), min(samples, samples - shift)
            onto, of = blurred[first:last], line[first + shift : last + shift]
            for n in range(last - first):
                onto[n] += weight * of[n]


@compiled
def _sum_across(images: Array, weights: Array, total: Array, low: int, high: int) -> None:
    beams = images.shape[1]
    taps, reach = weights.shape[0], weights.shape[0] // 2
    first, last = np.zeros(taps, np.int64), np.zeros(taps, np.int64)
    for tap in range(taps):  # where each tap counts at all
        counts = np.nonzero(weights[tap])[0]
        if len(counts) > 0:
            first[tap], last[tap] = counts[0], counts[-1] + 1
    for beam_of_all in range(low, high):
        image, beam = images[beam_of_all // beams], beam_of_all % beams
        blurred = total[beam_of_all // beams, beam]
        blurred[:] = 0.0
        for tap in range(max(0, reach - beam), min(taps, beams - beam + reach)):
            part = slice(first[tap], last[tap])
            onto, of, weight = blurred[part], image[beam + tap - reach, part], weights[tap, part]
            for n in range(len(onto)):
                onto[n] += weight[n] * of[n]
