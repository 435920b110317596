"""How probable it is that a registration is right, and how far off it may be.

A logistic model of two leads, each in units of what chance makes of it: the more the images show,
the less a wrong pose can lead by luck, as one over the square root of their area. The coefficients
stand here alone and come from ``python -m benchmarks.brain_gate --dev``, which registers simulated
patients, ever less like their MRI, from far starts and fits "within 3 mm". Area and shrinkage were
chosen by leaving out one patient at a time. The score itself and the curvature are left out: how
much of an image an MRI can explain is a matter of the modality, and wrong poses are as sharp as
right ones.
"""

from dataclasses import dataclass
from math import exp, isfinite, sqrt

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Model:
    """Logistic model: the sum of weights times figures, and a constant.

    Attributes:
        constant: Log-odds where all figures are 0.
        gap: Weight of the lead in score over the best different answer, see `figures`.
        lead: Weight of the lead over what the images reach mirrored, likewise.
        covariance_scale: Squared error, in units of the inverse Gauss-Newton matrix of the score.
    """

    constant: float
    gap: float
    lead: float
    covariance_scale: float


MODEL = Model(constant=-2.388, gap=114.78, lead=31.92, covariance_scale=0.00613)
_AREA_MM2 = 40_000.0
"""At this area the figures are the leads themselves; a sweep shows about as much."""


def figures(gap: float, lead: float, area_mm2: float) -> tuple[float, float]:
    """Return gap and lead as the model weighs them."""
    share = sqrt(area_mm2 / _AREA_MM2)
    return gap * share, lead * share


def probability(gap: float, lead: float, area_mm2: float, model: Model = MODEL) -> float:
    """Return the probability that a pose is within 3 mm of the truth; 0 if a lead is unknown.

    Args:
        gap: Lead in score over the best different answer.
        lead: Lead over what the images reach mirrored.
        area_mm2: Area of the images that shows tissue, over all frames.
        model: Coefficients.
    """
    if not (isfinite(gap) and isfinite(lead)):
        return 0.0
    gap, lead = figures(gap, lead, area_mm2)
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
