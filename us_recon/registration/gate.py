"""Whether a registration may be believed, and in words what is missing where it may not."""

from dataclasses import dataclass
from math import isnan, sqrt

from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings

_CALIBRATED_AREA_MM2 = 10_000.0
"""The leads in the settings hold for this much image and more."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a registration.

    Attributes:
        score: Explained share of the images' variance.
        chance_score: What the same search reaches with the images mirrored; NaN if unknown.
        gap: Lead in score over the best different answer; NaN if there was none to compare.
        area_mm2: Area of the images that shows tissue.
        coverage: Share of the image samples inside the MRI.
        moved_mm: Translation from where the attempt began, at the images' centre.
        turned_deg: Rotation from there.
    """

    score: float
    chance_score: float
    gap: float
    area_mm2: float
    coverage: float
    moved_mm: float
    turned_deg: float


def missing_before(window: BeamWindow, settings: RegistrationSettings) -> list[str]:
    """Return what the frames lack for an attempt, empty if nothing."""
    if window.area_mm2 < settings.min_area_mm2:
        return [
            f"too little to see: {window.area_mm2 / 100:.0f} cm2 of echoes, "
            f"{settings.min_area_mm2 / 100:.0f} needed; improve contact or raise the gain"
        ]
    if window.spread_mm < settings.min_spread_mm:
        return [
            f"coverage too small: the images span {window.spread_mm:.1f} mm, "
            f"{settings.min_spread_mm:g} needed; tilt or slide the probe"
        ]
    return []


def doubts(evidence: Evidence, settings: RegistrationSettings) -> list[str]:
    """Return the reasons not to believe a registration, empty if there is none."""
    found = []
    if not evidence.coverage >= settings.min_coverage:
        found.append(
            f"only {evidence.coverage:.0%} of the images lie inside the MRI, "
            f"{settings.min_coverage:.0%} needed; check the initial pose"
        )
    threshold = score_threshold(evidence, settings)
    least_gap = settings.min_gap * _strictness(evidence.area_mm2)
    if not evidence.score >= threshold:
        found.append(
            f"the MRI does not explain the images better than chance: score {evidence.score:.3f}, "
            f"{threshold:.3f} needed; check the initial pose, or scan where there is structure"
        )
    if not (
        evidence.moved_mm <= settings.capture_mm and evidence.turned_deg <= settings.capture_deg
    ):
        found.append(
            f"the best pose lies {evidence.moved_mm:.1f} mm and {evidence.turned_deg:.1f} deg from "
            f"the initial one, beyond the {settings.capture_mm:g} mm and "
            f"{settings.capture_deg:g} deg that are searched; give a better initial pose"
        )
    if not isnan(evidence.gap) and evidence.gap < least_gap:
        found.append(
            f"two poses explain the images: lead {evidence.gap:.3f}, {least_gap:.3f} needed; "
            "tilt or slide the probe"
        )
    return found


def score_threshold(evidence: Evidence, settings: RegistrationSettings) -> float:
    """Return the least score that is trusted: above the floor, and clearly above chance."""
    if isnan(evidence.chance_score):
        return settings.min_score
    margin = settings.min_margin * _strictness(evidence.area_mm2)
    return max(settings.min_score, evidence.chance_score + margin)


def _strictness(area_mm2: float) -> float:
    """Return how much more lead is asked of less image: chance varies with one over its root."""
    return max(1.0, sqrt(_CALIBRATED_AREA_MM2 / max(area_mm2, 1.0)))
