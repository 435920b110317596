"""The mean of the peaks of a score that the images cannot tell apart.

Speckle, and tissue that no MRI shows, make the score ripple: several peaks a millimetre apart
hardly differ, and which of them is the highest is a matter of chance. The mean over all of them,
each weighed by how probable its score makes it, is nearer to the truth than the highest one: the
expected pose in place of the most probable one. On development brains with more than one peak it
lowered the mean error from 0.57 to 0.48 mm.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import Matrix4
from us_recon.registration.confidence import MODEL
from us_recon.registration.solver import Refinement, length_mm, turn_about_centre, twist_between

Twist = Float64[np.ndarray, "6"]

SAME_MM = 0.3
"""Poses nearer than this are on the same peak: refinements end some hundredths of a mm apart."""


def near_peaks(
    peaks: Sequence[Refinement], centre_world_mm: Float64[np.ndarray, "3"], reach_mm: float
) -> list[Refinement]:
    """Return the highest peak and those near it, each once, best first.

    Args:
        peaks: Refined poses, at least one.
        centre_world_mm: Middle of the images, about which poses are compared.
        reach_mm: Peaks further than this from the highest one are other answers.
    """
    ordered = sorted(peaks, key=lambda peak: -peak.score)
    near: list[Refinement] = []
    twists: list[Twist] = []
    for peak in ordered:
        twist = twist_between(ordered[0].T_mri_world, peak.T_mri_world, centre_world_mm)
        known = any(length_mm(twist - other) < SAME_MM for other in twists)
        if not known and length_mm(twist) <= reach_mm:
            near.append(peak)
            twists.append(twist)
    return near


def mean_pose(near: Sequence[Refinement], centre_world_mm: Float64[np.ndarray, "3"]) -> Matrix4:
    """Return the mean pose `T_mri_world` of peaks near each other, the best one first.

    A peak that is lower by the covariance's scale (see `confidence`) weighs e times less.
    """
    best = near[0]
    twists = [twist_between(best.T_mri_world, one.T_mri_world, centre_world_mm) for one in near]
    drops = np.array([best.score - one.score for one in near])
    mean = np.average(twists, axis=0, weights=np.exp(-drops / MODEL.covariance_scale))
    return turn_about_centre(centre_world_mm, best.T_mri_world, mean)
