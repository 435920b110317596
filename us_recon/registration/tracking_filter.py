"""A pose and how well it is known: predicted by a motion model, corrected by images.

A Kalman filter on SE(3) in its information form. The patient is taken to wander: the pose performs
a random walk, of which the optical tracker sees nothing. The correction maximises what the images
say plus what was known before, which is the iterated form of the filter (Bell, Cathey, IEEE Trans.
Automat. Contr. 38 (1993) 294): directions that the present images do not show keep their prior.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import (
    invert_rigid,
    rotation_angle_rad,
    transform_points,
)
from us_recon.registration.objective import Objective
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import length_mm, turn_about_centre, twist_between

NATS_PER_SCORE = 50.0
"""How much more probable a pose is where the score is higher by 1, as a logarithm. Set by us such
that on the development procedures of ``python -m benchmarks.brain_tracking --dev`` the errors are
about as large as the covariance says: windows overlap and speckle stays with the tissue, so that a
window tells some five times less than it would if all of it were new."""
TRUE_CURVATURE = 0.25
"""The score's own curvature as a share of its Gauss-Newton matrix, which counts speckle too."""
_SOFTEST, _STIFFEST, _RAISE, _LOWER = 0.5, 64.0, 4.0, 0.5


@dataclass(frozen=True, eq=False)
class Belief:
    """A pose and its uncertainty.

    Attributes:
        T_mri_world: The most probable pose.
        covariance: Of its twist (mm, rad) about the centre, on the MRI's axes.
        centre_world_mm: The point the twist is about.
        stamp_ns: When it holds.
    """

    T_mri_world: Float64[np.ndarray, "4 4"]
    covariance: Float64[np.ndarray, "6 6"]
    centre_world_mm: Float64[np.ndarray, "3"]
    stamp_ns: int


@dataclass(frozen=True, eq=False)
class Correction:
    """What images made of a belief.

    Attributes:
        belief: The corrected belief.
        score: Score of its pose.
        surprise: Squared move in units of what was predicted.
        moved_mm: Move of the images' centre.
        iterations: Steps taken.
        curvature: Gauss-Newton matrix of ``1 - score`` there.
    """

    belief: Belief
    score: float
    surprise: float
    moved_mm: float
    iterations: int
    curvature: Float64[np.ndarray, "6 6"]


def predicted(
    belief: Belief,
    stamp_ns: int,
    centre_world_mm: Float64[np.ndarray, "3"],
    settings: RegistrationSettings,
) -> Belief:
    """Return what is known of the pose later, about another centre.

    The pose stays; its variance grows with time.
    """
    elapsed_s = max(stamp_ns - belief.stamp_ns, 0) * 1e-9
    lever = belief.T_mri_world[:3, :3] @ (centre_world_mm - belief.centre_world_mm)
    moved = np.eye(6)
    moved[:3, 3:] = [  # a turn about the old centre shifts the new one
        [0.0, lever[2], -lever[1]],
        [-lever[2], 0.0, lever[0]],
        [lever[1], -lever[0], 0.0],
    ]
    rates = np.repeat([settings.motion_mm, np.radians(settings.motion_deg)], 3)
    covariance = moved @ belief.covariance @ moved.T + np.diag(rates**2 * elapsed_s)
    return replace(
        belief, covariance=covariance, centre_world_mm=centre_world_mm, stamp_ns=stamp_ns
    )


def corrected(prior: Belief, objective: Objective, max_iterations: int) -> Correction:
    """Return the most probable pose given a prior and images, and what is known then.

    Args:
        prior: Belief about the objective's centre, from `predicted`.
        objective: Score as a function of the pose; it holds the tolerance.
        max_iterations: Steps of Levenberg-Marquardt, those that failed included.
    """
    information = np.linalg.inv(prior.covariance)
    centre = objective.centre_world_mm
    T, here = prior.T_mri_world, objective.linearise(prior.T_mri_world)
    away = np.zeros(6)
    least = NATS_PER_SCORE * (1.0 - here.score)
    stiffness, iterations, converged = 1.0, 0, False
    while iterations < max_iterations and not converged and stiffness < _STIFFEST:
        matrix = stiffness * NATS_PER_SCORE * TRUE_CURVATURE * here.curvature + information
        twist = np.linalg.solve(matrix, NATS_PER_SCORE * here.gradient - information @ away)
        candidate = turn_about_centre(centre, T, twist)
        there, off = (
            objective.linearise(candidate),
            twist_between(prior.T_mri_world, candidate, centre),
        )
        cost = NATS_PER_SCORE * (1.0 - there.score) + 0.5 * float(off @ information @ off)
        iterations += 1
        converged = length_mm(twist) < objective.tolerance_mm
        if cost < least:
            T, here, away, least = candidate, there, off, cost
            stiffness = max(stiffness * _LOWER, _SOFTEST)
        else:
            stiffness *= _RAISE
    gained = NATS_PER_SCORE * TRUE_CURVATURE * here.curvature
    covariance = np.linalg.inv(information + gained)
    belief = replace(prior, T_mri_world=T, covariance=0.5 * (covariance + covariance.T))
    surprise = float(away @ information @ away)
    moved_mm = float(np.linalg.norm(away[:3]))
    return Correction(belief, here.score, surprise, moved_mm, iterations, here.curvature)


def difference(
    T: Float64[np.ndarray, "4 4"],
    T_before: Float64[np.ndarray, "4 4"],
    centre_world_mm: Float64[np.ndarray, "3"],
) -> tuple[float, float]:
    """Return by how much a pose differs from another one: mm at the centre, and degrees."""
    correction = T @ invert_rigid(T_before)
    moved = transform_points(correction, centre_world_mm) - centre_world_mm
    return float(np.linalg.norm(moved)), float(np.degrees(rotation_angle_rad(correction)))
