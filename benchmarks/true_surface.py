"""A true surface and what a sweep could see of it, prepared once to score many meshes."""

from collections.abc import Iterable

import numpy as np

from us_recon.evaluation.mesh_metrics import SAMPLES, DistanceStatistics, MeshScore
from us_recon.evaluation.visibility import MAX_INCIDENCE_DEG, View, visible_points
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, triangle_normals


class TrueSurface:
    """Gives the same scores as `score_mesh`, but looks up only once what the views could see.

    Args:
        truth: True surface, normals outwards.
        views: The sweep.
        region_mm: Parts of a mesh further from the truth are other objects and are left out.
        max_incidence_deg: Angle between beam and normal up to which a view sees a surface.
        sound_passes: Whether the views see all walls, as of an organ.
    """

    def __init__(
        self,
        truth: Mesh,
        views: Iterable[View],
        region_mm: float = np.inf,
        max_incidence_deg: float = MAX_INCIDENCE_DEG,
        sound_passes: bool = False,
    ) -> None:
        self._region_mm = region_mm
        self._query = SurfaceQuery(truth)
        self._points, triangle = sample_surface(truth, SAMPLES)
        normals = triangle_normals(truth)[triangle]
        self._visible = visible_points(
            self._query,
            self._points,
            normals,
            views,
            max_incidence_deg=max_incidence_deg,
            sound_passes=sound_passes,
        )
        if not self._visible.any():
            raise SystemExit("no view sees any of the truth; are both in the same frame?")

    def scores(self, mesh: Mesh) -> tuple[MeshScore, MeshScore]:
        """Return the score against the visible part of the truth, and against all of it.

        All of the mesh within the region is measured, also where nothing could be seen: what a
        method makes up counts as its error in both scores.
        """
        share = float(self._visible.mean())
        if mesh.is_empty:
            return MeshScore(None, 0.0, None, share), MeshScore(None, 0.0, None, None)
        points, _ = sample_surface(mesh, SAMPLES)
        distances_mm = self._query.distances_mm(points)
        near = distances_mm <= self._region_mm
        to_truth = DistanceStatistics.of(distances_mm[near]) if near.any() else None
        back_mm = SurfaceQuery(mesh).distances_mm(self._points)
        seen, every = (DistanceStatistics.of(d) for d in (back_mm[self._visible], back_mm))
        in_region = float(near.mean())
        return (
            MeshScore(to_truth, in_region, seen, share),
            MeshScore(to_truth, in_region, every, None),
        )


def distances(score: MeshScore) -> dict[str, float]:
    """Return a score's figures; a mesh without triangles is infinitely far and covers nothing."""
    to_truth, back = score.to_truth, score.to_reconstruction
    chamfer_mm, hd95_mm = score.chamfer_mm, score.hd95_mm
    if to_truth is None or back is None or chamfer_mm is None or hd95_mm is None:
        return {
            "Chamfer mm": np.inf,
            "HD95 mm": np.inf,
            "median mm": np.inf,
            "p95 mm": np.inf,
            "truth to mesh mm": np.inf,
            "complete 2 mm": 0.0,
        }
    return {
        "Chamfer mm": chamfer_mm,
        "HD95 mm": hd95_mm,
        "median mm": to_truth.median_mm,
        "p95 mm": to_truth.p95_mm,
        "truth to mesh mm": back.mean_mm,
        "complete 2 mm": score.completeness(2),
    }
