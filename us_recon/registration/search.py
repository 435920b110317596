"""Search of a region around an initial pose: many poses scored, the best ones refined."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.stats import qmc

from us_recon.geometry.rigid import transform_points
from us_recon.registration.observation import BeamWindow
from us_recon.registration.similarity import Lc2, make_lc2
from us_recon.registration.solver import Refinement, refine, turn_about_centre

_SAME_MM = 1.0


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best pose of a search, and how far ahead of all others it is.

    Attributes:
        best: The refined pose with the highest score.
        gap: Lead in score over the best pose that places the images elsewhere; NaN if there
            was none to compare with.
        mirrored: The best pose of the same search with all images mirrored left to right: its
            score is what chance reaches with these images and this MRI.
    """

    best: Refinement
    gap: float
    mirrored: Refinement


def search(similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"]) -> SearchResult:
    """Score poses around an initial one, refine the best in two rounds, compare where they end.

    Args:
        similarity: Score as a function of the pose; its settings hold region and counts.
        T_mri_world: Rigid initial pose; it is always among those refined.
    """
    best, gap = _best_and_gap(similarity, T_mri_world)
    mirrored, _ = _best_and_gap(mirrored_images(similarity), T_mri_world)
    return SearchResult(best, gap, mirrored)


def _best_and_gap(
    similarity: Lc2, T_mri_world: Float64[np.ndarray, "4 4"]
) -> tuple[Refinement, float]:
    settings = similarity.settings
    twists = start_twists(
        settings.start_count, settings.capture_mm, np.radians(settings.capture_deg)
    )
    starts = [turn_about_centre(similarity, T_mri_world, twist) for twist in twists]
    scores = [similarity.score(start) for start in starts]
    order = np.argsort(scores, kind="stable")[::-1][: settings.refine_count]
    candidates = [T_mri_world, *(starts[index] for index in order)]
    hopeful = [refine(similarity, T, settings.first_iterations) for T in candidates]
    refined = [
        refine(similarity, one.T_mri_world, settings.search_iterations)
        for one in _best_modes(similarity, hopeful)
    ]
    best = max(refined, key=lambda refinement: refinement.score)
    poses = list(zip(starts, scores, strict=True))
    poses += [(one.T_mri_world, one.score) for one in hopeful + refined]
    elsewhere = [
        score
        for T, score in poses
        if displacement_mm(similarity.window, T, best.T_mri_world) > settings.mode_distance_mm
    ]
    return best, best.score - max(elsewhere, default=float("nan"))


def _best_modes(similarity: Lc2, refined: list[Refinement]) -> list[Refinement]:
    """Return the best of the poses that differ: those on their way to the same place count once."""
    kept: list[Refinement] = []
    for one in sorted(refined, key=lambda refinement: refinement.score, reverse=True):
        if all(
            displacement_mm(similarity.window, one.T_mri_world, other.T_mri_world) > _SAME_MM
            for other in kept
        ):
            kept.append(one)
    return kept[: similarity.settings.mode_count]


def mirrored_images(similarity: Lc2) -> Lc2:
    """Return the similarity with the beams of every image in reverse order."""
    window = similarity.window
    mirrored = replace(window, values=window.values.flip(1), valid=window.valid.flip(1))
    return make_lc2(mirrored, similarity.channels, similarity.settings)


def start_twists(count: int, reach_mm: float, reach_rad: float) -> Float64[np.ndarray, "count 6"]:
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
        np.linalg.norm(
            transform_points(T, corners) - transform_points(other, corners), axis=1
        ).mean()
    )
