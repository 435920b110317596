"""The intensities of fluid, grey and white matter in one patient's image, from its histogram.

A mixture of Gaussians (background, three tissues), of voxels part fluid and part grey matter
(uniform between the two) and of all else (uniform) is fitted by expectation maximisation
(Dempster, Laird, Rubin, J R Stat Soc B 39 (1977) 1) to the histogram, from many starts, with weak
priors on where the middle tissue lies and on how much there is of each. The priors are relative to
the tissues themselves, so that gain and offset of the scanner do not matter.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Float64

from us_recon.acoustics.contrasts import BRAIN_TISSUES, Contrast
from us_recon.errors import InputError

BINS = 200
STEPS = 60
OUTLIERS = 0.04  # share of the uniform component
PRIOR_WEIGHT = 400.0  # what the histogram counts as, in voxels; neighbours are not independent
MIDDLE_SPREAD = 0.08  # of the middle tissue's expected position
SIGMA_EXPECTED = 0.13  # of the distance from the darkest to the brightest tissue
LEAST_SPAN = 0.02  # of the histogram, between the darkest and the brightest tissue
SHARES = {
    "background": 0.3,
    "csf": 4.0,
    "grey_matter": 40.0,
    "white_matter": 40.0,
    "partial": 8.0,
}
"""Dirichlet prior of the shares; set by us."""


@dataclass(frozen=True)
class ClassIntensities:
    """Where a patient's tissues lie on the intensity scale of one image.

    Attributes:
        mean: Mean intensity of "csf", "grey_matter" and "white_matter".
        sigma: Standard deviation of each.
        share: Share of each among the voxels looked at.
        separation: Distance between grey and white matter over their common deviation.
        gain_nats: How much better than one Gaussian the mixture explains a voxel's intensity.
    """

    mean: dict[str, float]
    sigma: dict[str, float]
    share: dict[str, float]
    separation: float
    gain_nats: float


@dataclass(frozen=True, eq=False)
class _Fit:
    mean: Float64[np.ndarray, " k"]
    sigma: Float64[np.ndarray, " k"]
    share: Float64[np.ndarray, " components"]
    posterior: float
    likelihood: float


def class_intensities(values: Float[np.ndarray, " n"], contrast: Contrast) -> ClassIntensities:
    """Fit the tissues' intensities.

    Args:
        values: Intensities of voxels most of which are brain.
        contrast: The kind of image.

    Raises:
        InputError: The image is constant.
    """
    low, high = np.percentile(values, [0.1, 99.5])
    if not high > low:
        raise InputError(f"the image is constant ({low:g}); expected an MRI of the head")
    inside = np.clip(values.astype(np.float64), low, high)
    counts, edges = np.histogram(inside, BINS)
    x = 0.5 * (edges[1:] + edges[:-1])
    weights = counts / counts.sum()
    fits = [_fit(x, weights, contrast, start) for start in _starts(x, weights)]
    best = max(fits, key=lambda fit: fit.posterior)
    single = _one_gaussian(x, weights)
    names = dict(zip(contrast.order, range(1, 4), strict=True))
    pick = {name: names[name] for name in BRAIN_TISSUES}
    mean, sigma = (
        {name: float(v[at]) for name, at in pick.items()} for v in (best.mean, best.sigma)
    )
    common = np.hypot(sigma["grey_matter"], sigma["white_matter"]) / np.sqrt(2.0)
    return ClassIntensities(
        mean,
        sigma,
        {name: float(best.share[at]) for name, at in pick.items()},
        float(abs(mean["grey_matter"] - mean["white_matter"]) / common),
        best.likelihood - single,
    )


def _starts(
    x: Float64[np.ndarray, " bins"], weights: Float64[np.ndarray, " bins"]
) -> list[tuple[float, float]]:
    """Return pairs of a dark and a bright tissue's intensity to start from."""
    cumulative = np.cumsum(weights)
    quantiles = [x[np.searchsorted(cumulative, q)] for q in (0.03, 0.1, 0.25, 0.5, 0.7, 0.85, 0.95)]
    span = x[-1] - x[0]
    return [(a, b) for a, b in combinations(quantiles, 2) if b - a > 0.08 * span]


def _fit(
    x: Float64[np.ndarray, " bins"],
    weights: Float64[np.ndarray, " bins"],
    contrast: Contrast,
    start: tuple[float, float],
) -> _Fit:
    dark, bright = start
    span = bright - dark
    positions = np.array([contrast.background, 0.0, contrast.middle, 1.0])
    mean, sigma = dark + span * positions, np.full(4, SIGMA_EXPECTED * span)
    prior = np.array([SHARES[name] for name in ("background", *contrast.order, "partial")])
    share = prior / prior.sum()
    least = LEAST_SPAN * (x[-1] - x[0])
    for _ in range(STEPS):
        density = _components(x, mean, sigma, contrast) * share[:, None] * (1.0 - OUTLIERS)
        total = density.sum(axis=0) + OUTLIERS / (x[-1] - x[0])
        counts = PRIOR_WEIGHT * weights * density / total
        share = (counts.sum(axis=1) + prior) / (counts.sum() + prior.sum())
        counts = counts[:4]
        n = counts.sum(axis=1)
        mean = _means(counts @ x, n, mean, sigma, contrast, least)
        spread = (counts * (x - mean[:, None]) ** 2).sum(axis=1)
        expected = SIGMA_EXPECTED * (mean[3] - mean[1])
        sigma = np.sqrt((spread + 20.0 * expected**2) / (n + 20.0))
    density = _components(x, mean, sigma, contrast) * share[:, None] * (1.0 - OUTLIERS)
    likelihood = float(weights @ np.log(density.sum(axis=0) + OUTLIERS / (x[-1] - x[0])))
    position = (mean[2] - mean[1]) / (mean[3] - mean[1])
    ratio = np.log(sigma / (SIGMA_EXPECTED * (mean[3] - mean[1])))
    penalty = (
        0.5 * ((position - contrast.middle) / MIDDLE_SPREAD) ** 2
        + 5.0 * (ratio[1:] ** 2).sum()
        - prior @ np.log(share)
    )
    return _Fit(mean, sigma, share, PRIOR_WEIGHT * likelihood - float(penalty), likelihood)


def _means(
    sums: Float64[np.ndarray, "4"],
    n: Float64[np.ndarray, "4"],
    mean: Float64[np.ndarray, "4"],
    sigma: Float64[np.ndarray, "4"],
    contrast: Contrast,
    least: float,
) -> Float64[np.ndarray, "4"]:
    """Return the means of highest posterior; the outer tissues set the scale of the others."""
    new = (sums + mean) / (n + 1.0)
    new[3] = max(new[3], new[1] + least)
    span = new[3] - new[1]
    for at, expected, spread in (
        (2, contrast.middle, MIDDLE_SPREAD),
        (0, contrast.background, 3.0 * MIDDLE_SPREAD),
    ):
        believed, certainty = new[1] + expected * span, (sigma[at] / (spread * span)) ** 2
        new[at] = (sums[at] + certainty * believed) / (n[at] + certainty)
    new[2] = np.clip(new[2], new[1] + 0.1 * span, new[3] - 0.05 * span)
    new[0] = min(new[0], new[1] - 0.1 * span)
    return new


def _components(
    x: Float64[np.ndarray, " bins"],
    mean: Float64[np.ndarray, "4"],
    sigma: Float64[np.ndarray, "4"],
    contrast: Contrast,
) -> Float64[np.ndarray, "5 bins"]:
    ends = [mean[1 + contrast.order.index(name)] for name in ("csf", "grey_matter")]
    between = (x >= min(ends)) & (x <= max(ends))
    step = x[1] - x[0]
    partial = between / (max(between.sum(), 1) * step)
    return np.vstack([_gaussian(x, mean, sigma), partial])


def _gaussian(
    x: Float64[np.ndarray, " bins"],
    mean: Float64[np.ndarray, " k"],
    sigma: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, "k bins"]:
    z = (x - mean[:, None]) / sigma[:, None]
    return np.exp(-0.5 * z * z) / (sigma[:, None] * np.sqrt(2.0 * np.pi))


def _one_gaussian(x: Float64[np.ndarray, " bins"], weights: Float64[np.ndarray, " bins"]) -> float:
    mean = weights @ x
    sigma = np.sqrt(weights @ (x - mean) ** 2)
    density = (1.0 - OUTLIERS) * _gaussian(x, np.array([mean]), np.array([sigma]))[0]
    return float(weights @ np.log(density + OUTLIERS / (x[-1] - x[0])))
