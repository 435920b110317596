"""What a map has seen, thinned out to patches that count as one observation each."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, vertex_normals
from us_recon.occupancy.prior.settings import FitSettings

_SAMPLES_PER_PATCH = 30
_MOST_FREE = 3000
_CERTAIN_PERCENT = 90  # confidence up to which others are measured: a map's own best


@dataclass(frozen=True, eq=False)
class Observation:
    """Surface and empty space in the world.

    Attributes:
        points_mm: Middle of each patch of surface.
        normals: Outward unit normal there.
        weight: Confidence and area of each patch, 0 to 1.
        free_mm: Points in space that was seen to be empty, a patch apart, away from the surface.
        free_volume_mm3: Volume that each of them stands for.
    """

    points_mm: Float32[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]
    weight: Float32[np.ndarray, " n"]
    free_mm: Float32[np.ndarray, "m 3"]
    free_volume_mm3: float

    @property
    def patches(self) -> float:
        """How many patches of full weight there are."""
        return float(self.weight.sum())


def observation(
    mesh: Mesh, free_mm: Float32[np.ndarray, "m 3"], settings: FitSettings
) -> Observation:
    """Thin out a surface and the empty space that was seen.

    Args:
        mesh: The surface seen; at least one triangle of area above 0.
        free_mm: Centres of voxels seen to be empty; may be none.
        settings: Size of a patch.
    """
    patch_mm = settings.patch_mm
    count = max(int(mesh.area_mm2 / patch_mm**2 * _SAMPLES_PER_PATCH), 1)
    points, triangle = sample_surface(mesh, count)
    corners = mesh.triangles[triangle]
    normals = vertex_normals(mesh)[corners].mean(axis=1)
    # Both sides of a thin plate lie in one cell: they are two patches.
    cell = np.column_stack([np.floor(points / patch_mm), normals > 0]).astype(np.int64)
    _, patch, size = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    patch = patch.reshape(-1)
    normal = _means(normals, patch, size)
    certain = np.ones(len(points), np.float32)
    if mesh.confidence is not None:
        certain = mesh.confidence[corners].mean(axis=1)
        certain = certain / max(float(np.percentile(certain, _CERTAIN_PERCENT)), 1e-6)
    area = np.minimum(size / _SAMPLES_PER_PATCH, 1.0)
    weight = area * np.minimum(_means(certain[:, None], patch, size)[:, 0], 1.0)
    length = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    free, volume_mm3 = _thinned(free_mm, mesh, patch_mm)
    return Observation(
        points_mm=_means(points, patch, size),
        normals=(normal / length).astype(np.float32),
        weight=weight.astype(np.float32),
        free_mm=free,
        free_volume_mm3=volume_mm3,
    )


def thinned(seen: Observation, most: int) -> Observation:
    """Return at most that many patches and points, drawn at random, the same ones each time."""
    surface = _draw(len(seen.points_mm), most)
    free = _draw(len(seen.free_mm), most)
    share = max(len(seen.free_mm), 1) / max(len(free), 1)
    return Observation(
        points_mm=seen.points_mm[surface],
        normals=seen.normals[surface],
        weight=seen.weight[surface],
        free_mm=seen.free_mm[free],
        free_volume_mm3=seen.free_volume_mm3 * share,
    )


def _draw(count: int, most: int) -> Int64[np.ndarray, " drawn"]:
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def _means(
    values: Float32[np.ndarray, "n c"],
    group: Int64[np.ndarray, " n"],
    size: Int64[np.ndarray, " g"],
) -> Float32[np.ndarray, "g c"]:
    sums = [np.bincount(group, column.astype(np.float64), len(size)) for column in values.T]
    return (np.stack(sums, axis=1) / size[:, None]).astype(np.float32)


def _thinned(
    free_mm: Float32[np.ndarray, "m 3"], mesh: Mesh, patch_mm: float
) -> tuple[Float32[np.ndarray, "k 3"], float]:
    """Return one point a cell, none of them near the surface, and the volume of each."""
    if len(free_mm) == 0:
        return free_mm, patch_mm**3
    _, first = np.unique(np.floor(free_mm / patch_mm).astype(np.int64), axis=0, return_index=True)
    free = free_mm[first]
    free = free[SurfaceQuery(mesh).distances_mm(free) > patch_mm]
    kept = free[_draw(len(free), _MOST_FREE)]
    return kept, patch_mm**3 * max(len(free), 1) / max(len(kept), 1)
