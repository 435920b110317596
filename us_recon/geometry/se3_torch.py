"""SE(3) exponential and logarithm in PyTorch, batched and differentiable.

Twists are ``(v_mm, w_rad)`` as in `us_recon.geometry.rigid`. Rotations come from roma, whose
maps have finite gradients at zero; the translation part uses the left Jacobian with a series near
zero so that no gradient divides by the angle there.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

_SMALL_ANGLE_SQUARED = 1e-4
"""Below this the Jacobian's coefficients come from their series, exact to 1e-13 there."""


def exp_se3(twist: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Return rigid transforms of twists (Barfoot 2017, eq. 7.37). Gradients flow."""
    v, w = twist[..., :3], twist[..., 3:]
    R = roma.rotvec_to_rotmat(w)
    t = (_left_jacobian(w) @ v.unsqueeze(-1)).squeeze(-1)
    return assemble(R, t)


def log_se3(T: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6"]:
    """Return the twists of rigid transforms, rotation angle in [0, pi]. Gradients flow."""
    w = roma.rotmat_to_rotvec(T[..., :3, :3])
    v = torch.linalg.solve(_left_jacobian(w), T[..., :3, 3].unsqueeze(-1)).squeeze(-1)
    return torch.cat([v, w], dim=-1)


def assemble(
    R: Float[Tensor, "*batch 3 3"], t: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Return 4x4 transforms from rotations and translations (mm). Gradients flow."""
    top = torch.cat([R, t.unsqueeze(-1)], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 3] = 1.0
    return torch.cat([top, bottom], dim=-2)


def _left_jacobian(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    squared = (w * w).sum(dim=-1)
    small = squared < _SMALL_ANGLE_SQUARED
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(
        small, 0.5 - squared / 24.0 + squared**2 / 720.0, (1.0 - angle.cos()) / safe
    )
    second = torch.where(
        small,
        1.0 / 6.0 - squared / 120.0 + squared**2 / 5040.0,
        (angle - angle.sin()) / (safe * angle),
    )
    W = _skew(w)
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    return eye + first[..., None, None] * W + second[..., None, None] * (W @ W)


def _skew(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    x, y, z = w.unbind(dim=-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    return rows.reshape(*w.shape[:-1], 3, 3)
