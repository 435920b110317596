"""Pose and coefficients of a prior from what was seen, by Levenberg and Marquardt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import Matrix4, exp_se3, transform_points
from us_recon.occupancy.prior.observation import Observation
from us_recon.occupancy.prior.settings import FitSettings
from us_recon.occupancy.prior.shape import Coefficients, ShapePrior

_DAMPING = 1e-3
_SETTLED = 1e-4  # relative fall of the cost at which steps end
_MOST_DAMPING = 1e6


@dataclass(frozen=True, eq=False)
class Fit:
    """One answer.

    Attributes:
        T_prior_world: Pose, from the world to the frame of the prior.
        coefficients: Member of the population.
        cost: What is left unexplained, in units of independent observations.
        information: Curvature of the cost by twist and coefficients, for the uncertainty.
    """

    T_prior_world: Matrix4
    coefficients: Coefficients
    cost: float
    information: Float64[np.ndarray, "unknowns unknowns"]


@dataclass(frozen=True, eq=False)
class _Linear:
    cost: float
    gradient: Float64[np.ndarray, " unknowns"]
    curvature: Float64[np.ndarray, "unknowns unknowns"]


def fitted(
    prior: ShapePrior,
    seen: Observation,
    T_prior_world: Matrix4,
    coefficients: Coefficients,
    settings: FitSettings,
    outliers_mm: Sequence[float],
    steps: int = 15,
) -> Fit:
    """Move pose and coefficients until the shape explains what was seen.

    The cost is the sum of: for each patch, the squared distance to the shape over the noise, which
    saturates (Geman and McClure) and is full where the normals disagree; for each point seen
    empty, the same of how deep it lies inside; and the squares of the coefficients.

    Args:
        prior: The population.
        seen: What was seen.
        T_prior_world: Where to start.
        coefficients: And with which member.
        settings: Noise and weights.
        outliers_mm: Distance at which outliers are let go, one round for each in turn.
        steps: Steps in each round at most.
    """
    T, c = T_prior_world, coefficients
    now = _linearised(prior, seen, T, c, settings, outliers_mm[0])
    for outlier_mm in outliers_mm:
        now = _linearised(prior, seen, T, c, settings, outlier_mm)
        damping = _DAMPING
        for _ in range(steps):
            scale = np.diag(damping * np.diag(now.curvature) + 1e-9)
            step = -np.linalg.solve(now.curvature + scale, now.gradient)
            T_next, c_next = exp_se3(step[:6]) @ T, c + step[6:]
            after = _linearised(prior, seen, T_next, c_next, settings, outlier_mm)
            if after.cost >= now.cost:
                damping *= 10.0
                if damping > _MOST_DAMPING:
                    break
                continue
            fall = (now.cost - after.cost) / max(now.cost, 1e-12)
            T, c, now, damping = T_next, c_next, after, max(damping / 5.0, 1e-7)
            if fall < _SETTLED:
                break
    return Fit(T, c, now.cost, now.curvature)


def _linearised(
    prior: ShapePrior,
    seen: Observation,
    T: Matrix4,
    c: Coefficients,
    settings: FitSettings,
    outlier_mm: float,
) -> _Linear:
    """Return the cost and its Gauss-Newton model by a twist on the left and the coefficients."""
    count = len(seen.points_mm)
    points = np.concatenate([seen.points_mm, seen.free_mm]).astype(np.float64)
    x = transform_points(T, points)
    found = prior.distances(x, c)
    weight = np.concatenate([seen.weight, np.full(len(seen.free_mm), settings.free_weight)])
    off_mm = found.value_mm.copy()
    off_mm[count:] = np.minimum(off_mm[count:], 0.0)
    normals = seen.normals.astype(np.float64) @ T[:3, :3].T
    steep = np.maximum(np.linalg.norm(found.gradient[:count], axis=1), 1e-6)
    agree = np.ones(len(x))
    agree[:count] = np.clip((normals * found.gradient[:count]).sum(axis=1) / steep, 0.0, 1.0)
    share = 1.0 / (1.0 + (off_mm / outlier_mm) ** 2)  # of Geman and McClure
    most = (outlier_mm / settings.noise_mm) ** 2
    unexplained = weight * most * (1.0 - agree * share)
    jacobian = np.column_stack([found.gradient, np.cross(x, found.gradient), found.modes_mm])
    pull = weight * agree * share**2 / settings.noise_mm**2
    held = np.concatenate([np.zeros(6), np.ones(len(c))])
    gradient = jacobian.T @ (pull * off_mm) + held * np.concatenate([np.zeros(6), c])
    inside = np.concatenate([np.ones(count), off_mm[count:] < 0])
    curvature = (jacobian * (pull * inside)[:, None]).T @ jacobian + np.diag(held)
    return _Linear(float(unexplained.sum() + c @ c), gradient, curvature)
