"""How probable it is that a registration is right, and how far off it may be.

A logistic model of four figures; its coefficients stand here alone and come from
``python -m benchmarks.brain_gate --dev``, which registers simulated patients from far starts,
to their own MRI, to that MRI flipped and to another head's, and fits "within 3 mm".
"""

from dataclasses import dataclass
from math import exp, isfinite, log10

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Model:
    """Logistic model: the sum of weights times figures, and a constant.

    Attributes:
        constant: Log-odds where all figures are 0.
        gap: Weight of the lead in score over the best different answer.
        lead: Weight of the lead over what the images reach mirrored.
        score: Weight of the explained share of the images' variance.
        uncertainty: Weight of the decadic logarithm of the uncertainty in mm.
        covariance_scale: Squared error, in units of the inverse Gauss-Newton matrix of the score.
    """

    constant: float
    gap: float
    lead: float
    score: float
    uncertainty: float
    covariance_scale: float


# Set by us; `brain_gate --dev` is to replace it.
MODEL = Model(
    constant=-4.0, gap=150.0, lead=20.0, score=0.0, uncertainty=0.0, covariance_scale=1e-3
)


def probability(
    gap: float, lead: float, score: float, uncertainty_mm: float, model: Model = MODEL
) -> float:
    """Return the probability that a pose is within 3 mm of the truth; 0 if a figure is unknown."""
    if not all(isfinite(figure) for figure in (gap, lead, score, uncertainty_mm)):
        return 0.0
    log_odds = (
        model.constant
        + model.gap * gap
        + model.lead * lead
        + model.score * score
        + model.uncertainty * log10(max(uncertainty_mm, 1e-3))
    )
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
