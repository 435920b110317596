"""What the receiver shows of a signal: power, gain and log compression, in one pass on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from us_recon.acoustics.logarithm import logarithm
from us_recon.acoustics.propagation import is_compiled_for
from us_recon.compiled import compiled, in_threads


@dataclass(frozen=True, eq=False)
class Signal:
    """Amplitudes at the receiver; power is ``floor + (mirrors + real)^2 + imaginary^2``.

    Attributes:
        mirrors: Of the interfaces, which add up with their signs.
        imaginary: Of the scatterers, out of phase with these; without speckle all of them, of
            which the mean is shown.
        real: Of the scatterers, in phase; None without speckle.
        floor: Power of the receiver's noise.
    """

    mirrors: Float[Tensor, "poses beams samples"]
    imaginary: Float[Tensor, "poses beams samples"]
    real: Float[Tensor, "poses beams samples"] | None
    floor: Float[Tensor, ""]


def compressed(
    signal: Signal, offset: Float[Tensor, " samples"], slope: Float[Tensor, ""]
) -> Float[Tensor, "poses beams samples"]:
    """Return ``offset + slope ln(power)``, held between 0 black and 1 white.

    Gradients flow, once, to all of it; none where it is held.
    """
    if not is_compiled_for(signal.mirrors):
        return compressed_torch(signal, offset, slope)
    mirrors, imaginary = signal.mirrors.contiguous(), signal.imaginary.contiguous()
    real = mirrors.new_empty(0, 0, 0) if signal.real is None else signal.real.contiguous()
    numbers = torch.stack([signal.floor, slope])
    shown: Tensor = _Compressed.apply(  # type: ignore[no-untyped-call]
        mirrors, real, imaginary, offset.contiguous(), numbers
    )
    return shown


def compressed_torch(
    signal: Signal, offset: Float[Tensor, " samples"], slope: Float[Tensor, ""]
) -> Float[Tensor, "poses beams samples"]:
    """Return the same in plain PyTorch, on any device: the twin of the compiled pass."""
    inner = signal.mirrors if signal.real is None else signal.mirrors + signal.real
    power = torch.addcmul(signal.floor, inner, inner)
    power = torch.addcmul(power, signal.imaginary, signal.imaginary)
    return torch.addcmul(offset, slope, torch.log(power)).clamp(0.0, 1.0)


class _Compressed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        mirrors: Tensor,
        real: Tensor,
        imaginary: Tensor,
        offset: Tensor,
        numbers: Tensor,
    ) -> Tensor:
        shown = torch.empty_like(mirrors)
        ctx.save_for_backward(mirrors, real, imaginary, offset, numbers, shown)
        given = [_rows(each) for each in (mirrors, real, imaginary)]
        others = [each.detach().numpy() for each in (offset, numbers)]
        out = _rows(shown)
        in_threads(len(out), lambda low, high: _show(*given, *others, out, low, high))
        return shown

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, pull: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None, Tensor]:
        mirrors, real, imaginary, offset, numbers, shown = ctx.saved_tensors  # type: ignore[attr-defined]
        for_offset = ctx.needs_input_grad[3]  # type: ignore[attr-defined]
        by_mirrors, by_imaginary = torch.empty_like(mirrors), torch.empty_like(mirrors)
        by_level = torch.empty_like(mirrors) if for_offset else mirrors.new_empty(0, 0, 0)
        # One sum for each beam, so that the result does not depend on the number of threads.
        sums = np.empty((mirrors.shape[0] * mirrors.shape[1], 2))
        # Copied without PyTorch, whose threads would go on to wait beside these.
        pulls = np.ascontiguousarray(pull.numpy()).reshape(-1, pull.shape[-1])
        given = [pulls, *(_rows(each) for each in (shown, mirrors, real, imaginary))]
        others = [each.numpy() for each in (offset, numbers)]
        filled = [_rows(each) for each in (by_mirrors, by_imaginary, by_level)]
        in_threads(
            len(sums),
            lambda low, high: _show_backward(*given, *others, *filled, sums, low, high),
        )
        by_numbers = torch.from_numpy(sums.sum(axis=0)).to(numbers)
        by_real = by_mirrors if len(real) else None
        by_offset = by_level.sum(dim=(0, 1)) if for_offset else None
        return by_mirrors, by_real, by_imaginary, by_offset, by_numbers


Array = NDArray[np.float64]


def _rows(images: Tensor) -> NDArray[Any]:
    """Return the beams of all images, one after the other."""
    return images.detach().flatten(0, 1).numpy()


_fused: Callable[..., Callable[..., None]] = partial(compiled, fastmath={"contract"})


@_fused
def _show(
    mirrors: Array, real: Array, imaginary: Array, offset: Array, numbers: Array, shown: Array,
    low: int, high: int,
) -> None:  # fmt: skip
    """Fill `shown` (beams of all, samples)."""
    zero = offset.dtype.type(0.0)
    one = offset.dtype.type(1.0)
    floor, slope = numbers[0], numbers[1]
    for beam in range(low, high):
        out, here, there = shown[beam], mirrors[beam], imaginary[beam]
        for n in range(len(out)):
            inner = here[n] + real[beam, n] if real.shape[0] > 0 else here[n]
            out[n] = floor + inner * inner + there[n] * there[n]
        for n in range(len(out)):
            level = offset[n] + slope * logarithm(out[n])
            # Written so that what is not a number stays so.
            level = zero if level < zero else level
            out[n] = one if level > one else level


@_fused
def _show_backward(
    pull: Array, shown: Array, mirrors: Array, real: Array, imaginary: Array, offset: Array,
    numbers: Array, by_mirrors: Array, by_imaginary: Array, by_level: Array, sums: Array,
    low: int, high: int,
) -> None:  # fmt: skip
    """Fill the gradients by mirrors (and real), imaginary, level, and by both numbers."""
    zero = offset.dtype.type(0.0)
    one = offset.dtype.type(1.0)
    floor, slope = numbers[0], numbers[1]
    for beam in range(low, high):
        g, out, here, there = pull[beam], shown[beam], mirrors[beam], imaginary[beam]
        down, across = by_mirrors[beam], by_imaginary[beam]
        by_floor, by_slope = 0.0, 0.0
        for n in range(len(out)):
            inner = here[n] + real[beam, n] if real.shape[0] > 0 else here[n]
            through = zero if out[n] <= zero or out[n] >= one else g[n]
            per_power = through * slope / (floor + inner * inner + there[n] * there[n])
            down[n] = (per_power + per_power) * inner
            across[n] = (per_power + per_power) * there[n]
            by_floor += per_power
            by_slope += through * (out[n] - offset[n]) / slope
            if by_level.shape[0] > 0:
                by_level[beam, n] = through
        sums[beam, 0], sums[beam, 1] = by_floor, by_slope
