"""Width of pulse and beam from measured speckle, in closed form.

Scatterers below the resolution make a complex Gaussian field whose autocovariance is that of the
point spread function. Of a Gaussian of standard deviation s its square is ``exp(-x^2 / 2 s^2)``:
the intensity's covariance. Screens show the logarithm, whose covariance is the dilogarithm of that
square over its variance, ``Li2(rho^2) / (pi^2 / 6)`` (from the bivariate exponential law; derived
by us). So the width follows whatever gain and dynamic range are.
"""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.special import spence

from us_recon.acoustics.point_spread import FWHM

LOG_SPECKLE_DB = 10.0 / np.log(10.0) * pi / sqrt(6.0)
"""Standard deviation of fully developed speckle in dB: 5.57."""

_SIGMAS = np.geomspace(0.2, 40.0, 600)  # samples, that are tried
_REACH = 2.2  # lags that count, relative to that at which the correlation has fallen to a half
_LONGEST = 0.5  # of half of the block: slower speckle cannot be told from structure


@dataclass(frozen=True)
class SpeckleWidths:
    """Widths at half height of what a point scatterer becomes, in samples and in beams.

    Attributes:
        axial_samples: Along the beam; NaN where the block tells none.
        lateral_beams: Across the beams; likewise.
    """

    axial_samples: float
    lateral_beams: float


def speckle_widths(
    brightness: Float[np.ndarray, "blocks beams samples"],
    valid: Bool[np.ndarray, "blocks beams samples"] | None = None,
) -> SpeckleWidths:
    """Estimate the widths from blocks of log-compressed speckle of the same tissue and depth.

    Args:
        brightness: Linear in dB, of any gain and range, without black or white parts. The median
            over the blocks counts: a few with structure in them do no harm.
        valid: What of it counts; blocks of less than three quarters are left out.
    """
    used = brightness
    if valid is not None:
        used = brightness[valid.mean(axis=(1, 2)) > 0.75]
    used = used[used.std(axis=(1, 2)) > 0.0] if len(used) else used
    if not len(used):
        return SpeckleWidths(float("nan"), float("nan"))
    return SpeckleWidths(
        _width(_median_correlation(used, axis=2)), _width(_median_correlation(used, axis=1))
    )


def _median_correlation(
    blocks: Float[np.ndarray, "blocks beams samples"], axis: int
) -> Float64[np.ndarray, " lags"]:
    """Return the correlation at lags from 0 to half of the block."""
    lines = np.moveaxis(blocks, axis, -1).astype(np.float64)
    lines = lines - lines.mean(axis=(1, 2), keepdims=True)
    variance = (lines * lines).mean(axis=(1, 2))
    found = [np.ones(len(lines))]
    for lag in range(1, lines.shape[-1] // 2):
        product = lines[..., lag:] * lines[..., :-lag]
        found.append(product.mean(axis=(1, 2)) / variance)
    return np.asarray(np.median(np.stack(found), axis=1))


def _width(correlation: Float64[np.ndarray, " lags"]) -> float:
    """Return the width at half height of the Gaussian whose log-speckle correlates so.

    Slower structure lifts all short lags alike, and a block's mean, taken away, lowers them: a
    constant is fitted with the width (least squares over `_SIGMAS`).
    """
    below_half = np.flatnonzero(correlation < 0.5)
    if not len(below_half) or below_half[0] > _LONGEST * len(correlation):
        return float("nan")  # nothing falls off within the block
    reach = min(len(correlation) - 1, max(3, round(_REACH * below_half[0])))
    measured = correlation[1 : reach + 1]
    lags = np.arange(1, reach + 1, dtype=np.float64)
    model = _log_correlation(np.exp(-0.5 * (lags / _SIGMAS[:, None]) ** 2))
    rest = 1.0 - model
    constant = ((measured - model) * rest).sum(axis=1) / (rest * rest).sum(axis=1)
    error = ((measured - model - constant[:, None] * rest) ** 2).sum(axis=1)
    return FWHM * float(_SIGMAS[int(np.argmin(error))])


def _log_correlation(squared: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """Return the correlation of log-speckle where that of the field, squared, is this."""
    return np.asarray(spence(1.0 - squared) / (pi * pi / 6.0))
