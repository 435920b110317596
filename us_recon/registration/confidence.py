"""How probable it is that a registration is right, and how far off it may be.

A logistic model of two leads; its coefficients stand here alone and come from
``python -m benchmarks.brain_gate --dev``, which registers simulated patients from far starts and
fits "within 3 mm". Right and wrong are apart in its few patients, so that how steep the model is
follows from the shrinkage there as much as from them. The score itself and the curvature are left
out: how much of an image an MRI can explain is a matter of the modality, and wrong poses are as
sharp as right ones.
"""

from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Model:
    """Logistic model: the sum of weights times figures, and a constant.

    Attributes:
        constant: Log-odds where all figures are 0.
        gap: Weight of the lead in score over the best different answer.
        lead: Weight of the lead over what the images reach mirrored.
        covariance_scale: Squared error, in units of the inverse Gauss-Newton matrix of the score.
    """

    constant: float
    gap: float
    lead: float
    covariance_scale: float


MODEL = Model(constant=-3.868, gap=23.46, lead=47.67, covariance_scale=0.00504)


def probability(gap: float, lead: float, model: Model = MODEL) -> float:
    """Return the probability that a pose is within 3 mm of the truth; 0 if a lead is unknown."""
    if not (isfinite(gap) and isfinite(lead)):
        return 0.0
    log_odds = model.constant + model.gap * gap + model.lead * lead
    return 1.0 / (1.0 + exp(-min(max(log_odds, -30.0), 30.0)))


def covariance(
    curvature: Float64[np.ndarray, "6 6"], model: Model = MODEL
) -> Float64[np.ndarray, "6 6"]:
    """Return the covariance of a pose's twist (mm, rad) from the score's Gauss-Newton matrix.

    Directions in which the score says nothing get a huge, finite variance.
    """
    values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
    return np.asarray((vectors * (model.covariance_scale / np.maximum(values, 1e-9))) @ vectors.T)


def uncertainty_mm(covariance_of_twist: Float64[np.ndarray, "6 6"]) -> float:
    """Return the standard deviation of the position of the images' centre, over all axes."""
    return float(np.sqrt(np.trace(covariance_of_twist[:3, :3])))
