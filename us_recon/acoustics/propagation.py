"""Echoes of layered tissue along a beam: the paper's coupled system, and the primary echoes.

A beam crosses interfaces of reflection ``R_0 .. R_{N-1}``. A forward wave g and a backward wave d
couple at each of them,

    g_{i+1} = (1 + R_i) g_i + R'_i d_{i+1},    d_i = R_i g_i + (1 - R_i) d_{i+1},

with ``g_0 = 1``, and ``d_n = 0`` behind the last interface of the system cut at depth n (DiffUS,
2025). The echo of depth n is what returns to the surface, ``d_0``. Physically the backward wave is
reflected with the opposite sign, ``R' = -R``; the published code takes ``R' = R``.

Solving for ``d_i / g_i`` makes each interface a Moebius map of what lies behind it, so that all
depths follow from one pass over the beam and no system is ever built:

- physical: ``rho_{n+1} = (rho_n + R_n) / (1 + rho_n R_n)``, which telescopes to
  ``tanh(sum atanh R)``, that is ``(Z_n - Z_0) / (Z_n + Z_0)``: internal reflections cancel, and
  what is left is impedance relative to the surface;
- published: ``rho_n = b_n / d_n`` of the running product of ``[[1 - 2 R^2, R], [-R, 1]]``. It
  creates energy: where the sum of R comes near pi/2, rho passes through infinity.

The primary echoes leave out all that is reflected more than once. On the CPU the passes are
compiled, with gradients written by hand; elsewhere they are plain PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics import propagation_kernels as kernels
from us_recon.acoustics.propagation_kernels import Array
from us_recon.errors import InputError


class Convention(StrEnum):
    """With which sign an interface reflects the wave that comes from behind it."""

    PHYSICAL = "physical"
    PUBLISHED = "published"


def coupled_echoes(
    reflection: Float[Tensor, "*rays n"], convention: str = "physical"
) -> Float[Tensor, "*rays n+1"]:
    """Return the surface echo of the coupled system cut at every depth.

    Args:
        reflection: Reflection coefficient of each interface, between -1 and 1; float32 or float64.
        convention: ``physical`` (an interface reflects with -R from behind) or ``published`` (R).

    Returns:
        ``d_0`` of the system cut behind 0, 1, .. n interfaces; the first is 0. In the physical
        convention always between -1 and 1; in the published one it may be any number, infinite
        ones included. Gradients flow, once.

    Raises:
        InputError: A reflection outside (-1, 1), an unknown convention or an integer tensor.
    """
    if convention not in tuple(Convention):
        raise InputError(f"convention is {convention!r}; expected one of {', '.join(Convention)}")
    _check_kind(reflection)
    if not is_compiled_for(reflection):
        check_reflection(reflection)
        return coupled_torch(reflection, convention)
    return _over_rays(_coupled_pass(convention), reflection, checked=True)


def primary_echoes(reflection: Float[Tensor, "*rays n"]) -> Float[Tensor, "*rays n"]:
    """Return the echo of each interface, reflected once: ``R_n prod_{j<n} (1 - R_j^2)``.

    Args:
        reflection: Reflection coefficient of each interface, between -1 and 1; float32 or float64.

    Returns:
        The echoes. Gradients flow, once.

    Raises:
        InputError: A reflection outside (-1, 1), or an integer tensor.
    """
    _check_kind(reflection)
    if not is_compiled_for(reflection):
        check_reflection(reflection)
        return primary_torch(reflection)
    return _over_rays(_PRIMARY, reflection, checked=True)


def check_reflection(reflection: Tensor) -> None:
    """Raise an InputError where a reflection lies outside (-1, 1) or is not a number."""
    _check_kind(reflection)
    if not (reflection.detach().abs() < 1.0).all():
        raise _refusal(reflection)


def _check_kind(reflection: Tensor) -> None:
    if not reflection.is_floating_point():
        raise InputError(f"reflection holds {reflection.dtype}; expected float32 or float64")
    if reflection.ndim == 0:
        raise InputError("reflection is a single number; expected a tensor (..., interfaces)")


def _refusal(reflection: Tensor) -> InputError:
    low, high = (bound.item() for bound in torch.aminmax(reflection.detach()))
    return InputError(
        f"reflection reaches from {low:g} to {high:g}; expected values between -1 and 1, "
        "without both ends: (Z2 - Z1) / (Z2 + Z1) of impedances above 0"
    )


def coupled(reflection: Float[Tensor, "*rays n"], convention: str) -> Float[Tensor, "*rays n+1"]:
    """Return `coupled_echoes` of reflections that are known to be valid."""
    if not is_compiled_for(reflection):
        return coupled_torch(reflection, convention)
    return _over_rays(_coupled_pass(convention), reflection, checked=False)


def coupled_torch(
    reflection: Float[Tensor, "*rays n"], convention: str
) -> Float[Tensor, "*rays n+1"]:
    """Return the same in plain PyTorch, on any device: the twin of the compiled pass."""
    if convention == Convention.PHYSICAL:
        return F.pad(torch.tanh(torch.cumsum(torch.atanh(reflection), dim=-1)), (1, 0))
    square = reflection * reflection
    rows = [1.0 - 2.0 * square, reflection, -reflection, torch.ones_like(reflection)]
    product = _running_product(torch.stack(rows, dim=-1).reshape(*reflection.shape, 2, 2))
    return F.pad(product[..., 0, 1] / product[..., 1, 1], (1, 0))


def primary_torch(reflection: Float[Tensor, "*rays n"]) -> Float[Tensor, "*rays n"]:
    """Return the same in plain PyTorch, on any device: the twin of the compiled pass."""
    return reflection * left_over(-torch.log1p(-reflection * reflection))


def left_over(lost: Float[Tensor, "*rays n"]) -> Float[Tensor, "*rays n"]:
    """Return the amplitude that is left at each sample, given the losses of all steps in neper.

    By their sum: a running product would look for zeros on its way back, for which the host has to
    wait where a GPU computes.
    """
    return torch.exp(-F.pad(torch.cumsum(lost[..., :-1], dim=-1), (1, 0)))


def _running_product(matrices: Float[Tensor, "*rays n 2 2"]) -> Float[Tensor, "*rays n 2 2"]:
    """Return the products of the first 1, 2, .. n matrices, by doubling (Hillis, Steele 1986)."""
    count, reach = matrices.shape[-3], 1
    while reach < count:
        joined = matrices[..., :-reach, :, :] @ matrices[..., reach:, :, :]
        matrices = torch.cat([matrices[..., :reach, :, :], joined], dim=-3)
        reach *= 2
    return matrices


def is_compiled_for(tensor: Tensor) -> bool:
    """Return whether compiled passes exist for a tensor: on the CPU, float32 or float64."""
    return tensor.device.type == "cpu" and tensor.dtype in {torch.float32, torch.float64}


@dataclass(frozen=True)
class _Kernels:
    """A compiled pass.

    Attributes:
        forward: Fills the echoes (rays, n + extra) of reflections (rays, n); tells whether these
            are valid.
        backward: Fills the gradient by reflections, given these, the echoes and the gradient by
            them.
        extra: How many more echoes than reflections there are.
    """

    forward: Callable[[Array, Array], bool]
    backward: Callable[[Array, Array, Array, Array], None]
    extra: int


_PRIMARY = _Kernels(
    kernels.primary, lambda R, _, pull, slope: kernels.primary_backward(R, pull, slope), extra=0
)
_PHYSICAL = _Kernels(kernels.physical, kernels.physical_backward, extra=1)
_PUBLISHED = _Kernels(
    kernels.published, lambda R, _, pull, slope: kernels.published_backward(R, pull, slope), extra=1
)


def _coupled_pass(convention: str) -> _Kernels:
    return _PHYSICAL if convention == Convention.PHYSICAL else _PUBLISHED


def _over_rays(pass_: _Kernels, reflection: Tensor, checked: bool) -> Tensor:
    rays = reflection
    if reflection.ndim != 2 or not reflection.is_contiguous():
        rays = reflection.reshape(prod(reflection.shape[:-1]), reflection.shape[-1]).contiguous()
    if rays.requires_grad and torch.is_grad_enabled():
        echoes: Tensor = _Pass.apply(rays, pass_, checked)  # type: ignore[no-untyped-call]
    else:
        echoes = _echoes(rays.detach(), pass_, checked)
    if reflection.ndim == 2:
        return echoes
    return echoes.reshape(*reflection.shape[:-1], echoes.shape[-1])


def _echoes(rays: Tensor, pass_: _Kernels, checked: bool) -> Tensor:
    """Return the echoes, checked on the way: a pass of its own would take as long as a copy."""
    echoes = rays.new_empty(rays.shape[0], rays.shape[1] + pass_.extra)
    valid = pass_.forward(rays.numpy(), echoes.numpy())
    if checked and not valid:
        raise _refusal(rays)
    return echoes


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, rays: Tensor, pass_: _Kernels, checked: bool
    ) -> Tensor:
        echoes = _echoes(rays.detach(), pass_, checked)
        ctx.save_for_backward(rays, echoes)
        ctx.pass_ = pass_  # type: ignore[attr-defined]
        return echoes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, pull: Tensor
    ) -> tuple[Tensor, None, None]:
        rays, echoes = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = torch.empty_like(rays)
        arrays = [tensor.numpy() for tensor in (rays, echoes, pull.contiguous(), slope)]
        ctx.pass_.backward(*arrays)  # type: ignore[attr-defined]
        return slope, None, None
