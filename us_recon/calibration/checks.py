"""Whether a probe calibration is plausible: of itself, and by what passes over one place show."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64

from us_recon.calibration.agreement import AgreementMeter
from us_recon.calibration.correction import AXES, Correction, disagreement_mm, find_correction
from us_recon.calibration.latency import LatencyEstimate, estimate_latency
from us_recon.calibration.recording import Recording
from us_recon.imaging.probe import ProbeGeometry


class Verdict(StrEnum):
    """What a check says."""

    GOOD = "good"
    UNKNOWN = "unknown"
    """The recording does not tell."""
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, what was found, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True, eq=False)
class ProbeReport:
    """What is known of a probe's calibration.

    Attributes:
        checks: One per question.
        latency: The latency of the recording.
        correction: The calibration with which passes agree best; None where nothing was imaged
            in different passes.
        disagreement_mm: How far each pass lies off the others along its transducer's axes.
    """

    checks: tuple[Check, ...]
    latency: LatencyEstimate
    correction: Correction | None
    disagreement_mm: Float64[np.ndarray, "passes 3"]

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks."""
        order = list(Verdict)
        return max((check.verdict for check in self.checks), key=order.index)


GAP_FACTOR = 3.0
LEAST_RATE_HZ = 15.0
LARGEST_JITTER = 0.3
LARGEST_ARM_MM = 500.0
LARGEST_FRONT_MM = 40.0
"""How far a tracked body may lie before the array's face; beyond, it would be in the patient."""
LARGEST_ANISOTROPY = 1.25
LEAST_AGREEMENT = 0.3
MIRROR_LEAD = 0.03
LEAST_LATENCY_S = 0.005
LEAST_SIZE_MM = 0.75
"""A correction that is smaller, its doubled error taken off, is no reason to calibrate again."""
LEAST_GAIN = 0.008
"""Correlation that a correction must gain to count; set by us on virtual recordings."""
COME_BACK = (
    "slide back and forth over one place, then turn the probe by 90 degrees there and slide again, "
    "tilting a little; 20 s are enough"
)


def check_probe(recording: Recording) -> ProbeReport:
    """Check the calibration and the poses of a recording."""
    checks = [_pose_stream(recording), _calibration(recording), _pixels(recording.geometry)]
    meter = AgreementMeter(recording)
    latency = estimate_latency(recording)
    latency_s = latency.latency_s if _matters(latency) else 0.0
    correction = find_correction(meter, latency_s)
    apart_mm = np.full((meter.pass_count, 3), np.nan)
    if correction is not None:
        apart_mm = disagreement_mm(meter, latency_s)
    checks += [_timing(latency), _mirrored(meter, correction, latency_s)]
    checks += [_passes(correction, apart_mm), _size(correction)]
    return ProbeReport(tuple(checks), latency, correction, apart_mm)


def _matters(latency: LatencyEstimate) -> bool:
    size_s = abs(latency.latency_s)
    return latency.known and size_s > max(LEAST_LATENCY_S, 3.0 * latency.error_s)


def _pose_stream(recording: Recording) -> Check:
    name = "poses"
    parts, advice = [], []
    for child, stamps_s in recording.pose_stamps_s.items():
        periods_s = np.diff(stamps_s)
        rising = periods_s[periods_s > 0.0]
        if rising.size == 0:
            continue
        period_s = float(np.median(rising))
        usual = rising[rising < GAP_FACTOR * period_s]
        jitter = float(usual.std()) / period_s
        gaps = int((rising >= GAP_FACTOR * period_s).sum())
        parts.append(
            f"{child}: {1.0 / period_s:.0f} Hz, jitter {1000.0 * period_s * jitter:.1f} ms, {gaps} "
            f"drop-outs, longest {1000.0 * float(rising.max()):.0f} ms"
        )
        if 1.0 / period_s < LEAST_RATE_HZ:
            advice.append("track faster than the images come")
        if jitter > LARGEST_JITTER:
            advice.append("stamp poses when they are measured, not when they arrive")
        if float(rising.max()) > recording.track.max_gap_s:
            advice.append("look for lost markers or line of sight")
        if len(rising) < len(periods_s):
            advice.append("let one node publish each frame, with increasing stamps")
    if recording.invalid_poses:
        parts.append(f"{recording.invalid_poses} invalid")
        advice.append("publish no pose for a body that is not seen")
    verdict = Verdict.WARNING if advice else Verdict.GOOD
    return Check(name, verdict, "; ".join(parts), "; ".join(dict.fromkeys(advice)))


def _calibration(recording: Recording) -> Check:
    """Look at the matrix itself: a rotation, right-handed, of a plausible size."""
    name, T = "matrix", recording.T_parent_transducer
    if T is None:
        found = "no static transform ends at the transducer: its own pose is recorded"
        return Check(name, Verdict.UNKNOWN, found, "check how its driver calibrates it")
    scales = np.linalg.norm(T[:3, :3], axis=0)
    skew = float(np.abs(T[:3, :3].T @ T[:3, :3] - np.diag(scales**2)).max())
    determinant = float(np.linalg.det(T[:3, :3]))
    body_mm = -T[:3, :3].T @ T[:3, 3]
    text = f"determinant {determinant:+.4f}, tracked body {-body_mm[1]:.0f} mm behind the face"
    if skew > 1e-3 or np.abs(scales - 1.0).max() > 1e-3:
        text += f", axes of length {', '.join(f'{scale:.4f}' for scale in scales)}"
    bad = {
        "it is no rotation: put the pixel spacing into the probe geometry, not into tf": not (
            skew <= 1e-3 and np.abs(scales - 1.0).max() <= 1e-3
        ),
        "it is left-handed: take z = x cross y, and tell mirrored images by `orientation`": (
            determinant < 0.0
        ),
        f"over {LARGEST_ARM_MM:.0f} mm from the tracked body: millimetres sent as metres?": (
            float(np.linalg.norm(T[:3, 3])) > LARGEST_ARM_MM
        ),
        "the depth axis points to the tracked body; y must point away from the probe": (
            body_mm[1] > LARGEST_FRONT_MM
        ),
    }
    advice = next((text for text, holds in bad.items() if holds), "")
    if advice:
        return Check(name, Verdict.BAD, text, advice)
    if np.array_equal(T, np.eye(4)):
        advice = "it is the identity: publish the result of the calibration on /tf_static"
        return Check(name, Verdict.WARNING, text, advice)
    return Check(name, Verdict.GOOD, text)


def _pixels(geometry: ProbeGeometry) -> Check:
    ratio = geometry.spacing_x_mm / geometry.spacing_y_mm
    text = f"{geometry.spacing_x_mm:.4f} x {geometry.spacing_y_mm:.4f} mm, {geometry.orientation}"
    if max(ratio, 1.0 / ratio) > LARGEST_ANISOTROPY:
        advice = "most scanners' pixels are square; measure both with the scanner's own ruler"
        return Check("pixels", Verdict.WARNING, text, advice)
    return Check("pixels", Verdict.GOOD, text)


def _timing(latency: LatencyEstimate) -> Check:
    name = "timing"
    if not latency.known:
        doubts = "; ".join(f"{each.method}: {each.doubt}" for each in latency.evidence)
        return Check(name, Verdict.UNKNOWN, doubts, COME_BACK)
    text = f"images {1000.0 * latency.latency_s:+.1f} ms late (error {1000 * latency.error_s:.1f})"
    if _matters(latency):
        advice = "see `us-recon calibrate time`; what follows has it taken off"
        return Check(name, Verdict.BAD, text, advice)
    return Check(name, Verdict.GOOD, text)


def _mirrored(meter: AgreementMeter, correction: Correction | None, latency_s: float) -> Check:
    """Compare the images as they are with their mirror images left-right and up-down."""
    name = "mirrored"
    if correction is None:
        return Check(name, Verdict.UNKNOWN, "no place was imaged in different passes", COME_BACK)
    as_is = correction.after
    flips = {}
    for axis, side in ((0, "left-right"), (1, "up-down")):
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1.0, 2.0 * meter.centre_mm[axis]
        flips[side] = meter.measure(latency_s, flip).correlation()
    side = max(flips, key=lambda each: flips[each])
    text = f"agreement {as_is:.2f}, " + ", ".join(f"{k} {v:.2f}" for k, v in flips.items())
    if flips[side] > as_is + MIRROR_LEAD:
        advice = f"the image is mirrored {side}: correct `orientation` of the probe geometry"
        return Check(name, Verdict.BAD, text, advice)
    if flips[side] > as_is - MIRROR_LEAD:
        return Check(name, Verdict.UNKNOWN, f"{text}: both alike", COME_BACK)
    return Check(name, Verdict.GOOD, text)


def _passes(correction: Correction | None, apart_mm: Float64[np.ndarray, "passes 3"]) -> Check:
    name = "passes"
    known = np.isfinite(apart_mm).all(axis=1)
    if correction is None or not known.any():
        return Check(name, Verdict.UNKNOWN, "no place was imaged in different passes", COME_BACK)
    median = np.median(np.abs(apart_mm[known]), axis=0)
    apart = ", ".join(f"{size:.2f} {axis}" for axis, size in zip(AXES, median, strict=True))
    text = f"correlation {correction.before:.2f}; {known.sum()} passes lie apart by {apart} mm"
    if correction.before < LEAST_AGREEMENT:
        advice = (
            "images of one place do not look alike: check the calibration, the timing, and that "
            "the patient lay still"
        )
        return Check(name, Verdict.BAD, text, advice)
    return Check(name, Verdict.GOOD, text)


def _size(correction: Correction | None) -> Check:
    name = "calibration"
    if correction is None or correction.told == 0:
        return Check(name, Verdict.UNKNOWN, "the recording does not tell", COME_BACK)
    shift = ", ".join(f"{value:+.1f}" for value in correction.shift_mm)
    turn = ", ".join(f"{value:+.1f}" for value in correction.turn_deg)
    size = f"{correction.size_mm:.1f} mm (error {correction.error_mm:.1f})"
    part = f"; {correction.told} of 6 components told"
    small = correction.size_mm - 2.0 * correction.error_mm < LEAST_SIZE_MM
    if small or correction.after - correction.before < LEAST_GAIN:
        found = f"passes agree best {size} from it{part}"
        if correction.told < 5:
            return Check(name, Verdict.UNKNOWN, found, f"to tell the others: {COME_BACK}")
        return Check(name, Verdict.GOOD, found)
    found = (
        f"off by about {size}: shift {shift} mm, turn {turn} deg ({', '.join(AXES)}) would raise "
        f"the correlation from {correction.before:.3f} to {correction.after:.3f}{part}"
    )
    return Check(name, Verdict.BAD, found, "calibrate the probe again, and check this again")
