"""What an attempt to register, or a look at a patient who is followed, came to."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import Matrix4, invert_rigid
from us_recon.registration.confidence import covariance
from us_recon.registration.gate import Evidence, doubts, score_threshold
from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import Refinement
from us_recon.registration.tracking import AtRest, Tracked
from us_recon.registration.tracking_filter import difference

UNKNOWN = float("nan")


@dataclass(frozen=True, eq=False)
class RegistrationUpdate:
    """The result of an attempt.

    Attributes:
        stamp_ns: Stamp of the newest frame that took part.
        T_world_mri: Pose of the MRI as the attempt found it, trusted or not.
        T_world_mri_initial: The guess that was given.
        centre_world_mm: Middle of the images, where the correction is measured.
        trusted: Whether the pose passed every gate.
        confidence: Probability that the pose is within 3 mm of the truth; 0 if unknown.
        message: For a person: how good it is, or what is missing.
        score: Explained share of the images' variance; NaN if nothing could be tried.
        chance_score: What the images reach mirrored, while following beside the pose; NaN if
            unknown.
        score_threshold: Least score that is trusted for these images.
        gap: Lead in score over the best different answer; NaN if unknown.
        area_mm2: Area of the images with tissue, over all frames.
        coverage: Share of the image samples inside the MRI.
        moved_mm: Translation in this attempt, at the images' centre.
        turned_deg: Rotation in this attempt.
        iterations: Steps of the last refinement.
        converged: Whether it ended because steps became small.
        curvature: Gauss-Newton matrix of ``1 - score`` for a twist (mm, rad) about the centre.
        covariance: Covariance of that twist, on the MRI's axes; NaN if unknown.
        frames: Frames that took part.
    """

    stamp_ns: int
    T_world_mri: Float64[np.ndarray, "4 4"]
    T_world_mri_initial: Float64[np.ndarray, "4 4"]
    centre_world_mm: Float64[np.ndarray, "3"]
    trusted: bool
    confidence: float
    message: str
    score: float
    chance_score: float
    score_threshold: float
    gap: float
    area_mm2: float
    coverage: float
    moved_mm: float
    turned_deg: float
    iterations: int
    converged: bool
    curvature: Float64[np.ndarray, "6 6"]
    covariance: Float64[np.ndarray, "6 6"]
    frames: int


def blank(
    window: BeamWindow,
    stamp_ns: int,
    T_world_mri: Matrix4,
    T_initial: Matrix4,
    settings: RegistrationSettings,
    message: str,
) -> RegistrationUpdate:
    """Return an attempt that moved nothing and is not trusted."""
    return RegistrationUpdate(
        stamp_ns=stamp_ns,
        T_world_mri=T_world_mri,
        T_world_mri_initial=T_initial,
        centre_world_mm=window.centre_world_mm,
        trusted=False,
        confidence=0.0,
        message=message,
        score=UNKNOWN,
        chance_score=UNKNOWN,
        score_threshold=settings.min_score,
        gap=UNKNOWN,
        area_mm2=window.area_mm2,
        coverage=UNKNOWN,
        moved_mm=0.0,
        turned_deg=0.0,
        iterations=0,
        converged=False,
        curvature=np.zeros((6, 6)),
        covariance=np.full((6, 6), UNKNOWN),
        frames=len(window.values),
    )


def judged(
    before: RegistrationUpdate,
    refined: Refinement,
    coverage: float,
    chance_score: float,
    gap: float,
    settings: RegistrationSettings,
) -> RegistrationUpdate:
    """Weigh what a search found against where it began.

    Args:
        before: A blank update, with the pose before.
        refined: What was found.
        coverage: Share of the image samples inside the MRI there.
        chance_score: What the images reach mirrored.
        gap: Lead over the best different answer.
        settings: Of the gate.
    """
    T_world_mri = invert_rigid(refined.T_mri_world)
    centre = before.centre_world_mm
    moved_mm, turned_deg = difference(T_world_mri, before.T_world_mri, centre)
    evidence = Evidence(
        score=refined.score,
        chance_score=chance_score,
        gap=gap,
        area_mm2=before.area_mm2,
        coverage=coverage,
        moved_mm=moved_mm,
        turned_deg=turned_deg,
    )
    found = doubts(evidence, settings)
    total_mm, total_deg = difference(T_world_mri, before.T_world_mri_initial, centre)
    success = (
        f"registered, confidence {evidence.confidence:.3f}, score {refined.score:.3f}, "
        f"{total_mm:.1f} mm and {total_deg:.1f} deg from the first guess"
    )
    return replace(
        before,
        T_world_mri=T_world_mri,
        trusted=not found,
        confidence=evidence.confidence,
        message="; ".join(found) or success,
        score=refined.score,
        chance_score=chance_score,
        score_threshold=score_threshold(evidence, settings),
        gap=gap,
        coverage=coverage,
        moved_mm=moved_mm,
        turned_deg=turned_deg,
        iterations=refined.iterations,
        converged=refined.converged,
        curvature=refined.curvature,
        covariance=covariance(refined.curvature),
    )


def followed(before: RegistrationUpdate, tracked: Tracked, gap: float) -> RegistrationUpdate:
    """Return what tracking found.

    Args:
        before: A blank update, with the pose before.
        tracked: What was found.
        gap: Lead that the search had.
    """
    moved_mm, turned_deg = difference(
        tracked.T_world_mri, before.T_world_mri, before.centre_world_mm
    )
    return replace(
        before,
        T_world_mri=tracked.T_world_mri,
        trusted=tracked.trusted,
        confidence=tracked.confidence,
        message=tracked.message,
        score=tracked.score,
        chance_score=tracked.beside_score,
        score_threshold=tracked.least_score,
        gap=gap,
        coverage=tracked.coverage,
        moved_mm=moved_mm,
        turned_deg=turned_deg,
        iterations=tracked.iterations,
        curvature=tracked.curvature,
        covariance=tracked.covariance,
    )


def at_rest(
    update: RegistrationUpdate, rest: AtRest, settings: RegistrationSettings
) -> RegistrationUpdate:
    """Return a trusted update with the pose of a patient at rest, and what speaks for it."""
    frames = len(rest.window.values)
    return replace(
        update,
        T_world_mri=invert_rigid(rest.belief.T_mri_world),
        message=f"registered on {frames} frames, patient at rest",
        score=rest.score,
        chance_score=rest.score - rest.lead,
        score_threshold=rest.score - (1.0 - settings.tracking_lead) * rest.lead,
        area_mm2=rest.window.area_mm2,
        curvature=rest.curvature,
        covariance=rest.belief.covariance,
        centre_world_mm=rest.window.centre_world_mm,
        frames=frames,
    )
