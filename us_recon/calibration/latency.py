"""The constant latency between images and poses, from the motion that both show."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from us_recon.calibration.agreement import Agreement, AgreementMeter
from us_recon.calibration.motion import image_motion, pose_motion, unexplained
from us_recon.calibration.recording import Recording
from us_recon.settings import setting

COARSE_S = 0.04
FINE_S = {"motion": 0.02, "agreement": 0.01}
FINE_STEPS = 4
"""Fine steps to both sides of the best coarse latency, to which a parabola is fitted."""
BLOCKS = 10
"""Parts of the recording that are left out in turn to see how firm the estimate is."""
APART_S = 0.1
"""Peaks further apart are two answers."""
LEAST_LEAD = 0.25
"""Share of the gain by which the best answer must lead over another one."""
LEAST_ERROR_S = 0.001


@dataclass(frozen=True)
class LatencySettings:
    """How the latency is searched for and when it is believed."""

    max_latency_s: float = setting(
        0.4, "Largest latency to look for, either way.", unit="s", minimum=0.05, maximum=1.5
    )
    least_score: float = setting(
        0.3, "How well the best latency must explain the images.", minimum=0.0, maximum=1.0
    )
    least_gain: float = setting(
        0.1,
        "How much better than other latencies the best one must explain the images.",
        minimum=0.0,
        maximum=1.0,
    )
    max_error_s: float = setting(
        0.012, "Largest standard error of an estimate.", unit="s", minimum=0.001, maximum=0.2
    )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one method says of the latency.

    Attributes:
        method: "motion" or "agreement".
        latencies_s: Latencies that were tried, increasing.
        scores: How well each explains the images, 0 to 1; NaN where nothing could be compared.
        latency_s: The best one; NaN if there is none.
        error_s: Its standard error, by leaving out parts of the recording.
        score: Its score.
        gain: By how much that exceeds the median of all latencies.
        doubt: Why it is not used, or an empty string.
    """

    method: str
    latencies_s: Float64[np.ndarray, " n"]
    scores: Float64[np.ndarray, " n"]
    latency_s: float
    error_s: float
    score: float
    gain: float
    doubt: str


@dataclass(frozen=True, eq=False)
class LatencyEstimate:
    """The latency of a recording.

    Attributes:
        latency_s: Images carry stamps this much too late, against the poses; NaN if unknown.
        error_s: Its standard error; NaN if unknown.
        evidence: What each method says.
    """

    latency_s: float
    error_s: float
    evidence: tuple[Evidence, ...]

    @property
    def known(self) -> bool:
        """Whether the recording told the latency."""
        return bool(np.isfinite(self.latency_s))


Score = Callable[[float], Float64[np.ndarray, " versions"]]
"""Scores of a latency: with all parts of the recording, then without each part in turn."""


def estimate_latency(
    recording: Recording, settings: LatencySettings | None = None
) -> LatencyEstimate:
    """Return the latency of a recording, or that it cannot be told.

    Two methods are independent of each other: "motion" compares when images change with when the
    probe moves; "agreement" compares places that the probe came back to.
    """
    settings = settings or LatencySettings()
    meter = AgreementMeter(recording)
    evidence = (
        _evidence("motion", _motion_score(recording), settings),
        _evidence("agreement", _agreement_score(meter), settings),
    )
    used = [each for each in evidence if not each.doubt]
    if not used:
        return LatencyEstimate(float("nan"), float("nan"), evidence)
    weights = np.array([1.0 / each.error_s**2 for each in used])
    latencies = np.array([each.latency_s for each in used])
    latency_s = float(weights @ latencies / weights.sum())
    # Where the two differ by more than their errors say, the errors are too small.
    surprise = float(weights @ (latencies - latency_s) ** 2)
    error_s = float(np.sqrt(max(1.0, surprise) / weights.sum()))
    return LatencyEstimate(latency_s, max(error_s, LEAST_ERROR_S), evidence)


def _motion_score(recording: Recording) -> Score:
    motion = image_motion(recording)
    block = np.arange(len(motion.pairs_s)) * BLOCKS // len(motion.pairs_s)

    def score(latency_s: float) -> Float64[np.ndarray, " versions"]:
        poses, known = pose_motion(recording.track, motion, latency_s)
        weights = [known, *(known * (block != left_out) for left_out in range(BLOCKS))]
        left = [unexplained(motion, poses, weight) for weight in weights]
        # Independent Gaussian errors of the three measurements: the likelihoods multiply.
        return np.array([1.0 - float(np.prod(shares)) for shares in left])

    return score


def _agreement_score(meter: AgreementMeter) -> Score:
    block = np.arange(meter.pass_count) * BLOCKS // meter.pass_count

    def score(latency_s: float) -> Float64[np.ndarray, " versions"]:
        found: Agreement = meter.measure(latency_s)
        versions = [found.correlation(block != left_out) for left_out in range(-1, BLOCKS)]
        return np.array(versions)

    return score


def _evidence(method: str, score: Score, settings: LatencySettings) -> Evidence:
    """Score latencies coarsely, then finely around the best, and judge the result."""
    steps = round(settings.max_latency_s / COARSE_S)
    coarse_s = COARSE_S * np.arange(-steps, steps + 1)
    coarse = np.array([score(float(at)) for at in coarse_s])
    if not np.all(np.isfinite(coarse)):
        nan = float("nan")
        doubt = "no place was imaged twice in different passes"
        return Evidence(method, coarse_s, coarse[:, 0], nan, nan, nan, 0.0, doubt)
    best_s = float(coarse_s[coarse[:, 0].argmax()])
    fine_s = best_s + FINE_S[method] * np.arange(-FINE_STEPS, FINE_STEPS + 1)
    fine = np.array([score(float(at)) for at in fine_s])
    peaks_s = np.array([_peak(fine_s, column) for column in fine.T])
    # The jackknife: standard error from estimates that each lack one of n parts.
    without = peaks_s[1:]
    error_s = float(np.sqrt((len(without) - 1) * np.mean((without - without.mean()) ** 2)))
    tried_s, order = np.unique(np.r_[coarse_s, fine_s].round(9), return_index=True)
    scores = np.r_[coarse[:, 0], fine[:, 0]][order]
    middle = float(np.median(coarse[:, 0]))
    found = Evidence(
        method=method,
        latencies_s=tried_s,
        scores=scores,
        latency_s=float(peaks_s[0]),
        error_s=error_s,
        score=float(scores.max()),
        gain=float(scores.max()) - middle,
        doubt="",
    )
    rivals = coarse[np.abs(coarse_s - best_s) > APART_S, 0]
    lead = float(scores.max() - rivals.max()) / max(found.gain, 1e-9)
    return replace(found, doubt=_doubt(found, lead, settings))


def _doubt(found: Evidence, lead: float, settings: LatencySettings) -> str:
    """Return why an estimate is not to be used, or an empty string."""
    at_end = settings.max_latency_s - abs(found.latency_s) < COARSE_S
    doubts = {
        f"the best latency explains the images badly ({found.score:.2f})": found.score
        < settings.least_score,
        f"other latencies explain the images as well (gain {found.gain:.2f})": found.gain
        < settings.least_gain,
        "no clear maximum": not np.isfinite(found.latency_s + found.error_s),
        "the best latency lies at the end of the range; raise --max-latency-s": at_end,
        "two latencies explain the images nearly as well: the motion repeats itself": lead
        < LEAST_LEAD,
        f"uncertain by {1000.0 * found.error_s:.0f} ms": found.error_s > settings.max_error_s,
    }
    return next((text for text, holds in doubts.items() if holds), "")


def _peak(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> float:
    """Return where the parabola fitted to a peak is highest; NaN if it has no peak in between."""
    middle = x[len(x) // 2]
    curve, slope, _ = np.polyfit(x - middle, y, 2)
    at = -slope / (2.0 * curve) if curve < 0.0 else np.nan
    return float(middle + at) if abs(at) <= x[-1] - middle else float("nan")
