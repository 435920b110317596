"""Local refinement of a pose by variable-projection Levenberg-Marquardt on SE(3).

The coefficients of the local fits are eliminated: the residual is what the best fit at a pose
leaves over. Its Gauss-Newton matrix uses Kaufman's approximation, which drops the change of the
projector (Golub, Pereyra, Inverse Problems 19 (2003) R1, sec. 3). The gradient is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from us_recon.geometry.rigid import exp_se3, make_rigid, transform_points
from us_recon.registration.channels import GRADIENT, INTENSITY
from us_recon.registration.similarity import TINY, Lc2, PatchFit

_DAMPING = 1e-2
_STIFFEST, _SOFTEST, _RAISE, _LOWER = 64.0, 1.0 / 16.0, 4.0, 0.5
"""The Gauss-Newton matrix is multiplied by a stiffness that falls with each step that succeeds and
rises with each that fails. It starts at 1 and goes below: speckle, which no MRI explains, makes the
matrix several times too large, and undamped steps several times too short."""
_TURN_RADIUS_MM = 20.0
"""How far one radian moves the images, about: half of an imaged depth."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """Where a refinement ended.

    Attributes:
        T_mri_world: The pose.
        score: Its score.
        iterations: Steps taken.
        converged: Whether it ended because steps became small.
        curvature: Gauss-Newton matrix of ``1 - score`` for a twist (mm, rad) of the MRI about the
            images' centre.
    """

    T_mri_world: Float64[np.ndarray, "4 4"]
    score: float
    iterations: int
    converged: bool
    curvature: Float64[np.ndarray, "6 6"]


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Score, gradient and Gauss-Newton matrix at a pose, for a twist about the images' centre."""

    score: float
    gradient: Float64[np.ndarray, "6"]
    curvature: Float64[np.ndarray, "6 6"]


def refine(
    similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"], max_iterations: int
) -> Refinement:
    """Climb from a pose to the nearest maximum of the similarity.

    Args:
        similarity: Score as a function of the pose; its settings hold the tolerance.
        T_mri_world: Rigid start.
        max_iterations: Steps, those that failed included.
    """
    T, here = T_mri_world, linearise(similarity, T_mri_world)
    stiffness, converged, iterations = 1.0, False, 0
    while iterations < max_iterations and not converged and stiffness < _STIFFEST:
        twist = _step(here, stiffness)
        candidate = turn_about_centre(similarity, T, twist)
        iterations += 1
        converged = _length_mm(twist) < similarity.settings.tolerance_mm
        if similarity.score(candidate) > here.score:
            T, here = candidate, linearise(similarity, candidate)
            stiffness = max(stiffness * _LOWER, _SOFTEST)
        else:
            stiffness *= _RAISE
    return Refinement(T, here.score, iterations, converged, here.curvature)


def turn_about_centre(
    similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"], twist: Float64[np.ndarray, "6"]
) -> Float64[np.ndarray, "4 4"]:
    """Return the pose moved by a twist (mm, rad) about the images' centre, in MRI axes."""
    centre = transform_points(T_mri_world, similarity.window.centre_world_mm)
    to_centre, back = make_rigid(np.eye(3), -centre), make_rigid(np.eye(3), centre)
    return back @ exp_se3(twist) @ to_centre @ T_mri_world


def linearise(similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"]) -> Linearisation:
    """Return the score, its exact gradient and the Gauss-Newton matrix at a pose."""
    window = similarity.window
    from_centre = similarity.points_world_mm - torch.from_numpy(
        window.centre_world_mm.astype(np.float32)
    )
    lever = from_centre @ torch.from_numpy(T_mri_world[:3, :3].T.astype(np.float32))
    sampled, slopes = similarity.channels.sample_with_slopes(
        similarity.points_world_mm, T_mri_world
    )
    sampled.requires_grad_()
    fit = similarity.fit(sampled)
    (pull,) = torch.autograd.grad(fit.score, sampled)
    force = (pull[..., None] * slopes).sum(dim=0).double()
    gradient = torch.cat([force.sum(dim=0), torch.cross(lever.double(), force, dim=1).sum(dim=0)])
    with torch.no_grad():
        curvature = _gauss_newton(similarity, fit, sampled, slopes, lever)
    return Linearisation(fit.score.item(), gradient.numpy(), curvature.double().numpy())


def _gauss_newton(
    similarity: Lc2,
    fit: PatchFit,
    sampled: Float32[Tensor, "3 n"],
    slopes: Float32[Tensor, "3 n 3"],
    lever: Float32[Tensor, "n 3"],
) -> Float32[Tensor, "6 6"]:
    """Return ``2 sum_p w_p J_p' (D' P D)_p J_p / sum_p w_p var_p``.

    D is the change of a patch's fit with the position of the patch, P removes what new
    coefficients would make good, and J is the change of that position with the twist: a patch
    is small, so that all of it moves as its centre does.
    """
    shape = similarity.window.values.shape
    m, g, inside = sampled.reshape(3, *shape)
    weight = similarity.window.valid * inside
    share = similarity.pool(weight).clamp(min=0.02)

    def mean(images: Tensor) -> Tensor:
        return similarity.pool(weight * images) / share

    d = torch.cat([slopes[INTENSITY].T, slopes[GRADIENT].T]).reshape(6, *shape)
    first, second = torch.triu_indices(6, 6)
    d_mean, m_mean, g_mean = mean(d), mean(m), mean(g)
    pairs = mean(d[first] * d[second]) - d_mean[first] * d_mean[second]
    spread = torch.empty(6, 6, *share.shape)
    spread[first, second], spread[second, first] = pairs, pairs
    with_m, with_g = mean(d * m) - d_mean * m_mean, mean(d * g) - d_mean * g_mean
    a = mean(m * m) - m_mean**2 + similarity.channels.ridge[INTENSITY] + TINY
    b = mean(g * g) - g_mean**2 + similarity.channels.ridge[GRADIENT] + TINY
    c = mean(m * g) - m_mean * g_mean

    alpha, beta = fit.alpha, fit.beta
    moved = (alpha**2 * spread[:3, :3] + alpha * beta * (spread[:3, 3:] + spread[3:, :3])
             + beta**2 * spread[3:, 3:])  # fmt: skip
    p, q = alpha * with_m[:3] + beta * with_m[3:], alpha * with_g[:3] + beta * with_g[3:]
    refitted = (b * p[:, None] * p[None] + a * q[:, None] * q[None]
                - c * (p[:, None] * q[None] + q[:, None] * p[None])) / (a * b - c * c)  # fmt: skip
    left = ((moved - refitted) * fit.weight).flatten(2).permute(2, 0, 1)

    J = _jacobian(mean(lever.T.reshape(3, *shape)).flatten(1).T)
    total = (fit.weight * fit.variance).sum().clamp(min=1e-9)
    return 2.0 * (J.transpose(1, 2) @ left @ J).sum(dim=0) / total


def _jacobian(lever: Float32[Tensor, "n 3"]) -> Float32[Tensor, "n 3 6"]:
    """Return the change of points with a twist: ``[I, -[lever]x]``."""
    x, y, z = lever.T
    J = torch.zeros(len(lever), 3, 6)
    J[:, 0, 0] = J[:, 1, 1] = J[:, 2, 2] = 1.0
    J[:, 0, 4], J[:, 0, 5] = z, -y
    J[:, 1, 3], J[:, 1, 5] = -z, x
    J[:, 2, 3], J[:, 2, 4] = y, -x
    return J


def _step(here: Linearisation, stiffness: float) -> Float64[np.ndarray, "6"]:
    scale = np.maximum(np.diag(here.curvature), 1e-12)
    matrix = stiffness * (here.curvature + _DAMPING * np.diag(scale))
    return np.asarray(np.linalg.solve(matrix, here.gradient))


def _length_mm(twist: Float64[np.ndarray, "6"]) -> float:
    return float(np.linalg.norm(twist[:3]) + _TURN_RADIUS_MM * np.linalg.norm(twist[3:]))
