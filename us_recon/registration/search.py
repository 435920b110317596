"""Search of a region around an initial pose: many poses scored, the best ones refined."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import qmc

from us_recon.geometry.rigid import transform_points
from us_recon.registration.observation import BeamWindow
from us_recon.registration.similarity import Lc2
from us_recon.registration.solver import Refinement, refine, turn_about_centre


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best pose of a search, and how far ahead of all others it is.

    Attributes:
        best: The refined pose with the highest score.
        gap: Lead in score over the best pose that places the images elsewhere; NaN if there
            was none to compare with.
        scored: Poses scored.
    """

    best: Refinement
    gap: float
    scored: int


def search(similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"]) -> SearchResult:
    """Score poses around an initial one, refine the best, and compare where they end.

    Args:
        similarity: Score as a function of the pose; its settings hold region and counts.
        T_mri_world: Rigid initial pose; it is always among those refined.
    """
    settings = similarity.settings
    starts = [turn_about_centre(similarity, T_mri_world, twist) for twist in start_twists(
        settings.start_count, settings.capture_mm, np.radians(settings.capture_deg))]  # fmt: skip
    scores = [similarity.score(start) for start in starts]
    order = np.argsort(scores, kind="stable")[::-1][: settings.refine_count]
    refined = [refine(similarity, T_mri_world)]
    refined += [refine(similarity, starts[index]) for index in order]
    best = max(refined, key=lambda refinement: refinement.score)
    elsewhere = [
        score
        for T, score in [(r.T_mri_world, r.score) for r in refined] + list(zip(starts, scores))
        if displacement_mm(similarity.window, T, best.T_mri_world) > settings.mode_distance_mm
    ]
    gap = best.score - max(elsewhere) if elsewhere else float("nan")
    return SearchResult(best, gap, len(starts))


def start_twists(
    count: int, reach_mm: float, reach_rad: float
) -> Float64[np.ndarray, "count 6"]:
    """Return evenly spread twists: translations and rotations in balls, by a Sobol sequence."""
    if count == 0:
        return np.zeros((0, 6))
    # Both balls fill (pi / 6)^2 = 27 % of the cube.
    unit = 2.0 * qmc.Sobol(6, scramble=False).random_base2(int(np.ceil(np.log2(count / 0.2)))) - 1.0
    inside = (np.linalg.norm(unit[:, :3], axis=1) <= 1) & (np.linalg.norm(unit[:, 3:], axis=1) <= 1)
    return unit[inside][:count] * np.repeat([reach_mm, reach_rad], 3)


def displacement_mm(
    window: BeamWindow, T: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]
) -> float:
    """Return the mean distance between where two poses place the corners of the images."""
    points = window.points_world_mm
    corners = points[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3).double().numpy()
    return float(
        np.linalg.norm(transform_points(T, corners) - transform_points(other, corners), axis=1).mean()
    )
