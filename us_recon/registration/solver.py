"""Local refinement of a pose by variable-projection Levenberg-Marquardt on SE(3).

The coefficients of the local fits are eliminated: the residual is what the best fit at a pose
leaves over. Its Gauss-Newton matrix uses Kaufman's approximation, which drops the change of the
projector (Golub, Pereyra, Inverse Problems 19 (2003) R1, sec. 3).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import (
    exp_se3,
    invert_rigid,
    log_se3,
    make_rigid,
    transform_points,
)
from us_recon.registration.objective import Linearisation, Objective

_DAMPING = 1e-2
_STIFFEST, _SOFTEST, _RAISE, _LOWER = 64.0, 1.0 / 16.0, 4.0, 0.5
"""The Gauss-Newton matrix is multiplied by a stiffness that falls with each step that succeeds and
rises with each that fails. It starts at 1 and goes below: speckle, which no MRI explains, makes the
matrix several times too large, and undamped steps several times too short."""
_TURN_RADIUS_MM = 20.0
"""How far one radian moves the images, about: half of an imaged depth."""
_LONGEST_MM = 6.0
"""Where the score hardly depends on the pose, an undamped step leaves the patient."""


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


def refine(
    objective: Objective, T_mri_world: Float64[np.ndarray, "4 4"], max_iterations: int
) -> Refinement:
    """Climb from a pose to the nearest maximum of the score.

    Args:
        objective: Score as a function of the pose; it holds the tolerance.
        T_mri_world: Rigid start.
        max_iterations: Steps, those that failed included.
    """
    T, here = T_mri_world, objective.linearise(T_mri_world)
    stiffness, converged, iterations = 1.0, False, 0
    while iterations < max_iterations and not converged and stiffness < _STIFFEST:
        twist = _step(here, stiffness)
        candidate = turn_about_centre(objective.centre_world_mm, T, twist)
        there = objective.linearise(candidate)  # most steps succeed: cheaper than the score first
        iterations += 1
        converged = length_mm(twist) < objective.tolerance_mm
        if there.score > here.score:
            T, here = candidate, there
            stiffness = max(stiffness * _LOWER, _SOFTEST)
        else:
            stiffness *= _RAISE
    return Refinement(T, here.score, iterations, converged, here.curvature)


def turn_about_centre(
    centre_world_mm: Float64[np.ndarray, "3"],
    T_mri_world: Float64[np.ndarray, "4 4"],
    twist: Float64[np.ndarray, "6"],
) -> Float64[np.ndarray, "4 4"]:
    """Return the pose moved by a twist (mm, rad) about the images' centre, on MRI axes."""
    to_centre, back = _to_centre_and_back(centre_world_mm, T_mri_world)
    return back @ exp_se3(twist) @ to_centre @ T_mri_world


def twist_between(
    T_mri_world: Float64[np.ndarray, "4 4"],
    other: Float64[np.ndarray, "4 4"],
    centre_world_mm: Float64[np.ndarray, "3"],
) -> Float64[np.ndarray, "6"]:
    """Return the twist (mm, rad) by which `turn_about_centre` takes one pose to the other."""
    to_centre, back = _to_centre_and_back(centre_world_mm, T_mri_world)
    return log_se3(to_centre @ other @ invert_rigid(T_mri_world) @ back)


def _to_centre_and_back(
    centre_world_mm: Float64[np.ndarray, "3"], T_mri_world: Float64[np.ndarray, "4 4"]
) -> tuple[Float64[np.ndarray, "4 4"], Float64[np.ndarray, "4 4"]]:
    """Return the shifts, on MRI axes, that take the images' centre to the origin and back."""
    centre = transform_points(T_mri_world, centre_world_mm)
    return make_rigid(np.eye(3), -centre), make_rigid(np.eye(3), centre)


def _step(here: Linearisation, stiffness: float) -> Float64[np.ndarray, "6"]:
    scale = np.maximum(np.diag(here.curvature), 1e-12)
    matrix = stiffness * (here.curvature + _DAMPING * np.diag(scale))
    twist = np.linalg.solve(matrix, here.gradient)
    return np.asarray(twist * min(1.0, _LONGEST_MM / max(length_mm(twist), 1e-12)))


def length_mm(twist: Float64[np.ndarray, "6"]) -> float:
    """Return how far a twist (mm, rad) moves the images, about."""
    return float(np.linalg.norm(twist[:3]) + _TURN_RADIUS_MM * np.linalg.norm(twist[3:]))
