"""Exact distances to a mesh and uniform points on it."""

from collections.abc import Sequence

import numpy as np
import open3d as o3d
from jaxtyping import Float, Float32, Int64

from us_recon.errors import InputError
from us_recon.occupancy.mesh import Mesh


class SurfaceQuery:
    """Distances and rays against one mesh (Open3D's bounding volume hierarchy)."""

    def __init__(self, mesh: Mesh) -> None:
        """Build the hierarchy.

        Raises:
            InputError: The mesh has no triangles.
        """
        if mesh.is_empty:
            raise InputError("the mesh has no triangles; there is no surface to measure against")
        self._scene = ray_scene([mesh])

    def distances_mm(self, points_mm: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the distance from each point to the nearest point of the surface."""
        points = o3d.core.Tensor.from_numpy(np.ascontiguousarray(points_mm, dtype=np.float32))
        return np.asarray(self._scene.compute_distance(points).numpy())

    def first_hits_mm(
        self, origins_mm: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, " n"]:
        """Return how far along each ray (unit direction) the surface is; infinite for a miss."""
        rays = np.concatenate([origins_mm, directions], axis=1).astype(np.float32)
        hits = self._scene.cast_rays(o3d.core.Tensor.from_numpy(np.ascontiguousarray(rays)))
        return np.asarray(hits["t_hit"].numpy())


def ray_scene(meshes: Sequence[Mesh]) -> o3d.t.geometry.RaycastingScene:
    """Return Open3D's ray casting scene of several meshes, numbered in their order."""
    scene = o3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        vertices = np.ascontiguousarray(mesh.vertices_mm, dtype=np.float32)
        triangles = np.ascontiguousarray(mesh.triangles, dtype=np.uint32)
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(vertices), o3d.core.Tensor.from_numpy(triangles)
        )
    return scene


def sample_surface(
    mesh: Mesh, count: int, seed: int = 0
) -> tuple[Float32[np.ndarray, "count 3"], Int64[np.ndarray, " count"]]:
    """Draw points uniformly by area, the same ones each time.

    Args:
        mesh: Surface with at least one triangle of area above 0.
        count: Number of points.
        seed: Of the random generator.

    Returns:
        The points (mm) and the triangle each lies on.

    Raises:
        InputError: The mesh has no area.
    """
    areas = mesh.areas_mm2().astype(np.float64)
    if areas.sum() <= 0:
        raise InputError("the mesh has no area; no points can be drawn on it")
    random = np.random.default_rng(seed)
    # Stratified: one point per equal share of the area, so that few points cover it evenly.
    position = (np.arange(count) + random.random(count)) / count * areas.sum()
    triangle = np.minimum(np.searchsorted(np.cumsum(areas), position), len(areas) - 1)
    u, v = random.random((2, count, 1))
    root = np.sqrt(u)
    a, b, c = np.moveaxis(mesh.corners_mm()[triangle], 1, 0)
    points = (1 - root) * a + root * (1 - v) * b + root * v * c
    return points.astype(np.float32), triangle.astype(np.int64)


def triangle_normals(mesh: Mesh) -> Float32[np.ndarray, "triangles 3"]:
    """Return the unit normal of each triangle, outwards; zero for one without area."""
    a, b, c = np.moveaxis(mesh.corners_mm(), 1, 0)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), 0).astype(np.float32)


def vertex_normals(mesh: Mesh) -> Float32[np.ndarray, "vertices 3"]:
    """Return the outward unit normal of each vertex, its triangles weighted by area."""
    a, b, c = np.moveaxis(mesh.corners_mm(), 1, 0)
    doubled, count = np.cross(b - a, c - a), len(mesh.vertices_mm)
    at = mesh.triangles.ravel()
    total = np.stack(
        [np.bincount(at, np.repeat(doubled[:, axis], 3), count) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.where(length > 0, length, 1), 0).astype(np.float32)
