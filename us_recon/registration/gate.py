"""Whether a registration may be believed, and in words what is missing where it may not."""

from dataclasses import dataclass
from math import isnan

from us_recon.registration.confidence import probability
from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings

_CLEAR_GAP = 0.03
"""A lead over other answers that is hardly ever wrong: below it, the gap is what is missing."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a registration.

    Attributes:
        score: Explained share of the images' variance.
        chance_score: What the same search reaches with the images mirrored; NaN if unknown.
        gap: Lead in score over the best different answer; NaN if there was none to compare.
        area_mm2: Area with tissue, over all frames.
        coverage: Share of what the images show that lies inside the MRI.
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

    @property
    def confidence(self) -> float:
        """Probability of being within 3 mm; 0 where something is unknown."""
        return probability(self.gap, self.score - self.chance_score, self.area_mm2)


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
    if not evidence.score >= threshold:
        found.append(
            f"the MRI does not explain the images better than chance: score {evidence.score:.3f}, "
            f"{threshold:.3f} needed; check the initial pose, or scan where there is structure"
        )
    # A search may end a little outside of the region where it starts.
    slack = settings.mode_distance_mm
    if not (
        evidence.moved_mm <= settings.capture_mm + slack
        and evidence.turned_deg <= settings.capture_deg + slack
    ):
        found.append(
            f"the best pose lies {evidence.moved_mm:.1f} mm and {evidence.turned_deg:.1f} deg from "
            f"the initial one, beyond the {settings.capture_mm:g} mm and "
            f"{settings.capture_deg:g} deg that are searched; give a better initial pose"
        )
    if not found and evidence.confidence < settings.min_confidence:
        found.append(_too_little_confidence(evidence, settings))
    return found


def score_threshold(evidence: Evidence, settings: RegistrationSettings) -> float:
    """Return the least score that is trusted: above the floor, and above chance if known."""
    return max(settings.min_score, evidence.chance_score)  # a NaN as second argument is ignored


def _too_little_confidence(evidence: Evidence, settings: RegistrationSettings) -> str:
    confidence = (
        f"probably not within 3 mm: confidence {evidence.confidence:.2f}, "
        f"{settings.min_confidence:g} needed"
    )
    if isnan(evidence.gap):
        return f"{confidence}; no other pose was compared: search (start_count)"
    if evidence.gap < _CLEAR_GAP:
        return (
            f"two poses explain the images, lead {evidence.gap:.3f}: {confidence}; "
            "tilt or slide the probe"
        )
    return f"{confidence}; scan where there is structure, or improve contact"
