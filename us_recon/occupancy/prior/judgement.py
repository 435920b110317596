"""Whether a fit is to be believed; if not, nothing is filled in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from us_recon.geometry.rigid import transform_points
from us_recon.occupancy.prior.fit import Fit
from us_recon.occupancy.prior.observation import Observation
from us_recon.occupancy.prior.settings import FitSettings
from us_recon.occupancy.prior.shape import ShapePrior

_DEEP_MM = 2.0  # this far inside, empty space is no error of the surface
_LIKELY = 0.999  # share of the population beyond which a member is none


@dataclass(frozen=True)
class Judgement:
    """What speaks for a fit.

    Attributes:
        explained: Share of the surface seen that the shape explains, 0 to 1.
        lead: How much more that is than at the best other pose.
        violated: Share of the shape's volume that was seen to be empty.
        reason: Why the fit is not believed; empty where it is.
    """

    explained: float
    lead: float
    violated: float
    reason: str

    @property
    def believed(self) -> bool:
        """Whether the shape may be filled in."""
        return not self.reason


def judged(
    prior: ShapePrior, seen: Observation, fits: Sequence[Fit], settings: FitSettings
) -> Judgement:
    """Judge the first of several fits, the others being at other poses.

    Args:
        prior: The population.
        seen: What was seen.
        fits: The best first; at least one.
        settings: What is asked of a fit.
    """
    most = seen.patches * (settings.outlier_mm / settings.noise_mm) ** 2
    shares = [1.0 - fit.cost / most for fit in fits] + [0.0]
    best = fits[0]
    explained, lead = max(shares[0], 0.0), shares[0] - max(shares[1], 0.0)
    violated = _violated(prior, seen, best)
    odd = float(best.coefficients @ best.coefficients)
    limit = float(chi2.ppf(_LIKELY, max(prior.mode_count, 1)))
    reason = ""
    if explained < settings.min_explained:
        reason = f"the shape explains {explained:.0%} of the surface seen"
    elif lead < settings.min_lead:
        reason = f"another pose explains the surface seen nearly as well ({lead:.0%} less)"
    elif violated > settings.max_violated:
        reason = f"{violated:.0%} of the shape lies in space seen empty"
    elif odd > limit:
        reason = f"the shape is unlike all subjects (coefficients {odd:.0f}, at most {limit:.0f})"
    return Judgement(explained, lead, violated, reason)


def _violated(prior: ShapePrior, seen: Observation, fit: Fit) -> float:
    if len(seen.free_mm) == 0:
        return 0.0
    inside = transform_points(fit.T_prior_world, seen.free_mm.astype(np.float64))
    deep = prior.distances(inside, fit.coefficients).value_mm < -_DEEP_MM
    volume_mm3 = prior.volume_mm3(fit.coefficients)
    return float(deep.sum()) * seen.free_volume_mm3 / max(volume_mm3, 1e-9)
