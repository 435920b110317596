"""How close a reconstructed surface is to the truth, and how much of the truth it covers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from us_recon.errors import InputError
from us_recon.evaluation.visibility import MAX_INCIDENCE_DEG, View, visible_points
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, triangle_normals

SAMPLES = 50_000
"""Points drawn on each surface; the 95th percentile is then repeatable to 0.01 of itself."""


@dataclass(frozen=True)
class DistanceStatistics:
    """Distances from the points of one surface to another surface.

    Attributes:
        points: Points that were measured.
        mean_mm: Mean distance.
        median_mm: Median distance.
        p95_mm: 95th percentile.
        within_1mm: Share of points nearer than 1 mm.
        within_2mm: Share of points nearer than 2 mm.
    """

    points: int
    mean_mm: float
    median_mm: float
    p95_mm: float
    within_1mm: float
    within_2mm: float

    @classmethod
    def of(cls, distances_mm: Float32[np.ndarray, " n"]) -> "DistanceStatistics":
        """Summarise distances; raises InputError where there are none."""
        if len(distances_mm) == 0:
            raise InputError("there are no distances to summarise")
        median, p95 = np.percentile(distances_mm.astype(np.float64), [50, 95])
        return cls(
            points=len(distances_mm),
            mean_mm=float(distances_mm.mean(dtype=np.float64)),
            median_mm=float(median),
            p95_mm=float(p95),
            within_1mm=float(np.mean(distances_mm < 1.0)),
            within_2mm=float(np.mean(distances_mm < 2.0)),
        )


@dataclass(frozen=True)
class MeshScore:
    """A reconstruction against the truth.

    Attributes:
        to_truth: From the reconstruction to the truth, within the region; None where no part of
            the reconstruction lies there.
        in_region: Share of the reconstruction's area that lies within the region.
        to_reconstruction: From the truth (its visible part, where views were given) to the
            reconstruction: its shares are the completeness; None where nothing was reconstructed.
        visible: Share of the truth's area that the views could see; None without views.
    """

    to_truth: DistanceStatistics | None
    in_region: float
    to_reconstruction: DistanceStatistics | None
    visible: float | None

    @property
    def chamfer_mm(self) -> float | None:
        """Mean of both directions' mean distances."""
        if self.to_truth is None or self.to_reconstruction is None:
            return None
        return 0.5 * (self.to_truth.mean_mm + self.to_reconstruction.mean_mm)

    @property
    def hd95_mm(self) -> float | None:
        """Larger of both directions' 95th percentiles."""
        if self.to_truth is None or self.to_reconstruction is None:
            return None
        return max(self.to_truth.p95_mm, self.to_reconstruction.p95_mm)

    def completeness(self, within_mm: int) -> float:
        """Return the share of the truth within 1 or 2 mm of the reconstruction."""
        if self.to_reconstruction is None:
            return 0.0
        shares = {1: self.to_reconstruction.within_1mm, 2: self.to_reconstruction.within_2mm}
        return shares[within_mm]


def score_mesh(
    reconstruction: Mesh,
    truth: Mesh,
    views: Iterable[View] | None = None,
    region_mm: float = np.inf,
    max_incidence_deg: float = MAX_INCIDENCE_DEG,
    sound_passes: bool = False,
) -> MeshScore:
    """Score a reconstruction against the true surface.

    Args:
        reconstruction: Surface to be scored; may be empty.
        truth: True surface, normals outwards.
        views: The sweep; completeness then counts only what it could see.
        region_mm: Parts of the reconstruction further from the truth are other objects, for which
            there is no truth, and are left out.
        max_incidence_deg: Angle between beam and normal up to which a view sees a surface.
        sound_passes: Whether the views see all walls, as of an organ (see `visible_points`).

    Raises:
        InputError: The truth is empty, or no part of it could be seen.
    """
    truth_query = SurfaceQuery(truth)
    truth_points, visible = _truth_points(
        truth, truth_query, views, max_incidence_deg, sound_passes
    )
    share = float(visible.mean()) if views is not None else None
    if not visible.any():
        raise InputError("no view sees any of the truth; are both in the same frame?")
    if reconstruction.is_empty:
        return MeshScore(None, 0.0, None, share)
    points, _ = sample_surface(reconstruction, SAMPLES)
    distances_mm = truth_query.distances_mm(points)
    near = distances_mm <= region_mm
    back_mm = SurfaceQuery(reconstruction).distances_mm(truth_points[visible])
    return MeshScore(
        to_truth=DistanceStatistics.of(distances_mm[near]) if near.any() else None,
        in_region=float(near.mean()),
        to_reconstruction=DistanceStatistics.of(back_mm),
        visible=share,
    )


def _truth_points(
    truth: Mesh,
    query: SurfaceQuery,
    views: Iterable[View] | None,
    max_incidence_deg: float,
    sound_passes: bool,
) -> tuple[Float32[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
    points, triangle = sample_surface(truth, SAMPLES)
    if views is None:
        return points, np.ones(len(points), bool)
    normals = triangle_normals(truth)[triangle]
    return points, visible_points(
        query,
        points,
        normals,
        views,
        max_incidence_deg=max_incidence_deg,
        sound_passes=sound_passes,
    )
