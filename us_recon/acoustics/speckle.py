"""Scatterers that stay where they are: a random complex field, a fixed function of position.

Complex normal numbers sit on a lattice in the patient, drawn once per seed and repeated far apart.
Between its points they are interpolated and scaled back to their variance, so that a frame rendered
twice, or a little further on, shows the same tissue; a beam's blur then makes speckle of them.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from us_recon.acoustics.constants import on_device
from us_recon.acoustics.field_kernels import add_outer, at
from us_recon.acoustics.fields import affine_slope, interpolated, points_of
from us_recon.acoustics.propagation import is_compiled_for
from us_recon.compiled import compiled, in_threads

PERIOD = 64
"""Lattice points after which the field repeats: a power of two."""


def scattered(
    amplitude: Float[Tensor, "poses beams samples"],
    plane_mm: Float[Tensor, "beams samples 2"],
    T_lattice_transducer: Float[Tensor, "poses 4 4"],
    seed: int,
) -> tuple[Float[Tensor, "poses beams samples"], Float[Tensor, "poses beams samples"]]:
    """Return the real and imaginary part of the field times an amplitude.

    Without it each part has variance 1/2. Gradients flow, once, to amplitude and affines.

    Args:
        amplitude: How much scatters at each sample.
        plane_mm: Samples (x, y) in the transducer frame.
        T_lattice_transducer: Affines from there to units of the lattice's spacing.
        seed: Which field.
    """
    table = _table_on(seed, plane_mm.dtype, plane_mm.device)
    if not is_compiled_for(plane_mm):
        real, imaginary = scatterers_torch(table, points_of(plane_mm, T_lattice_transducer))
        return amplitude * real, amplitude * imaginary
    affine = T_lattice_transducer[:, :3].contiguous()
    found: tuple[Tensor, Tensor] = _Scattered.apply(  # type: ignore[no-untyped-call]
        amplitude.contiguous(), table, plane_mm, affine
    )
    return found


def scatterers_torch(
    table: Float[Tensor, "p p p 2"], lattice: Float[Tensor, "*samples 3"]
) -> Float[Tensor, "2 ..."]:
    """Return the field in plain PyTorch, on any device: the twin of the compiled pass."""
    around = F.pad(table.movedim(-1, 0)[None], (0, 1, 0, 1, 0, 1), mode="circular")[0]
    total = interpolated(around, lattice - PERIOD * (lattice.detach() / PERIOD).floor())
    share = lattice - lattice.detach().floor()
    x, y, z = (share * share + (1.0 - share) * (1.0 - share)).unbind(-1)
    return total / (x * y * z).sqrt()


@lru_cache(maxsize=4)
def _table(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([seed, 64])
    return rng.standard_normal((PERIOD, PERIOD, PERIOD, 2), dtype=np.float32) * np.float32(
        np.sqrt(0.5)
    )


@lru_cache(maxsize=4)
def _table_on(seed: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "p p p 2"]:
    return on_device(_table(seed), dtype, device)


class _Scattered(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        amplitude: Tensor,
        table: Tensor,
        plane: Tensor,
        affine: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(amplitude, table, plane, affine)
        found = torch.empty_like(amplitude), torch.empty_like(amplitude)
        given = (table, plane, affine, amplitude, *found)
        arrays = [tensor.detach().numpy() for tensor in given]
        in_threads(len(affine) * len(plane), lambda low, high: _look_up(*arrays, low, high))
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, by_real: Tensor, by_imaginary: Tensor
    ) -> tuple[Tensor, None, None, Tensor]:
        amplitude, table, plane, affine = ctx.saved_tensors  # type: ignore[attr-defined]
        by_amplitude = torch.empty_like(amplitude)
        by_beam = torch.zeros(len(affine), len(plane), 3, 3, dtype=torch.float64)
        pulls = by_real.contiguous(), by_imaginary.contiguous()
        given = (table, plane, affine, amplitude, *pulls, by_amplitude, by_beam)
        arrays = [tensor.numpy() for tensor in given]
        in_threads(
            len(affine) * len(plane), lambda low, high: _look_up_backward(*arrays, low, high)
        )
        return by_amplitude, None, None, affine_slope(by_beam, affine)


Array = NDArray[np.float64]


@compiled
def _look_up(
    table: Array, plane: Array, affine: Array, amplitude: Array, real: Array, imaginary: Array,
    low: int, high: int,
) -> None:  # fmt: skip
    one = plane.dtype.type(1.0)
    wrap = PERIOD - 1
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // plane.shape[0], beam_of_all % plane.shape[0]
        A = affine[pose]
        for n in range(plane.shape[1]):
            p, q = plane[beam, n, 0], plane[beam, n, 1]
            x, y, z = at(A, 0, p, q), at(A, 1, p, q), at(A, 2, p, q)
            x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
            s, t, u = x - x0, y - y0, z - z0
            i, j, k = int(x0) & wrap, int(y0) & wrap, int(z0) & wrap
            i1, j1, k1 = (i + 1) & wrap, (j + 1) & wrap, (k + 1) & wrap
            a, b, c = one - s, one - t, one - u
            w0, w1, w2, w3 = b * c, b * u, t * c, t * u
            scale = one / np.sqrt((s * s + a * a) * (t * t + b * b) * (u * u + c * c))
            scale *= amplitude[pose, beam, n]
            for part in range(2):
                before = (w0 * table[i, j, k, part] + w1 * table[i, j, k1, part]
                          + w2 * table[i, j1, k, part] + w3 * table[i, j1, k1, part])  # fmt: skip
                behind = (w0 * table[i1, j, k, part] + w1 * table[i1, j, k1, part]
                          + w2 * table[i1, j1, k, part] + w3 * table[i1, j1, k1, part])  # fmt: skip
                found = (a * before + s * behind) * scale
                if part == 0:
                    real[pose, beam, n] = found
                else:
                    imaginary[pose, beam, n] = found


@compiled
def _look_up_backward(
    table: Array, plane: Array, affine: Array, amplitude: Array, by_real: Array,
    by_imaginary: Array, by_amplitude: Array, by_beam: Array, low: int, high: int,
) -> None:  # fmt: skip
    one, zero = plane.dtype.type(1.0), plane.dtype.type(0.0)
    two = one + one
    wrap = PERIOD - 1
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // plane.shape[0], beam_of_all % plane.shape[0]
        A, total = affine[pose], by_beam[pose, beam]
        for n in range(plane.shape[1]):
            p, q = plane[beam, n, 0], plane[beam, n, 1]
            x, y, z = at(A, 0, p, q), at(A, 1, p, q), at(A, 2, p, q)
            x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
            s, t, u = x - x0, y - y0, z - z0
            i, j, k = int(x0) & wrap, int(y0) & wrap, int(z0) & wrap
            i1, j1, k1 = (i + 1) & wrap, (j + 1) & wrap, (k + 1) & wrap
            a, b, c = one - s, one - t, one - u
            in_i, in_j, in_k = s * s + a * a, t * t + b * b, u * u + c * c
            scale = one / np.sqrt(in_i * in_j * in_k)
            by_i, by_j, by_k, along = zero, zero, zero, zero
            for part in range(2):
                g = by_real[pose, beam, n] if part == 0 else by_imaginary[pose, beam, n]
                g *= scale
                a0, a1 = table[i, j, k, part], table[i, j, k1, part]
                b0, b1 = table[i, j1, k, part], table[i, j1, k1, part]
                c0, c1 = table[i1, j, k, part], table[i1, j, k1, part]
                d0, d1 = table[i1, j1, k, part], table[i1, j1, k1, part]
                near, left = a0 + u * (a1 - a0), b0 + u * (b1 - b0)
                far, right = c0 + u * (c1 - c0), d0 + u * (d1 - d0)
                before, behind = near + t * (left - near), far + t * (right - far)
                along += g * (before + s * (behind - before))
                by_i += g * (behind - before)
                by_j += g * (a * (left - near) + s * (right - far))
                by_k += g * (
                    a * (b * (a1 - a0) + t * (b1 - b0)) + s * (b * (c1 - c0) + t * (d1 - d0))
                )
            # The last terms are the slope of the scale.
            by_i -= along * (two * s - one) / in_i
            by_j -= along * (two * t - one) / in_j
            by_k -= along * (two * u - one) / in_k
            by_amplitude[pose, beam, n] = along
            loud = amplitude[pose, beam, n]
            add_outer(total, loud * by_i, loud * by_j, loud * by_k, p, q)
