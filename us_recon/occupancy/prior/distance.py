"""Signed distance to a surface that may have an edge, and where it is known."""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Float32

from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import ray_scene, vertex_normals

_ON_EDGE = 1e-3  # share of inner corners below which a point lies on the surface's edge


@dataclass(frozen=True, eq=False)
class Nearest:
    """What a surface is like nearest to some points.

    Attributes:
        distance_mm: Signed distance, below 0 behind the surface.
        normal: Outward unit normal of the surface there, smooth across triangles.
        inner: Whether the nearest point is not on the edge of an open surface: only there does
            the sign mean anything.
    """

    distance_mm: Float32[np.ndarray, " n"]
    normal: Float32[np.ndarray, "n 3"]
    inner: Bool[np.ndarray, " n"]


class SignedSurface:
    """Signed distances to a mesh, closed or not; the sign is that of the nearest normal.

    A nearest point on an edge or a corner has the normal of the triangles around it, weighted by
    their areas, without which the sign is wrong at sharp edges (Baerentzen and Aanaes 2005).
    """

    def __init__(self, mesh: Mesh) -> None:
        self._triangles = mesh.triangles
        self._normals = vertex_normals(mesh)
        self._on_edge = edge_vertices(mesh)
        self._scene = ray_scene([mesh])

    @property
    def is_closed(self) -> bool:
        """Whether the surface has no edge."""
        return not self._on_edge.any()

    def nearest(self, points_mm: Float[np.ndarray, "n 3"]) -> Nearest:
        """Return what the surface is like nearest to points."""
        points = np.ascontiguousarray(points_mm, np.float32)
        found = self._scene.compute_closest_points(o3d.core.Tensor.from_numpy(points))
        corners = self._triangles[found["primitive_ids"].numpy().astype(np.int64)]
        uv = found["primitive_uvs"].numpy()
        shares = np.column_stack([1.0 - uv.sum(axis=1), uv]).astype(np.float32)
        normal = (shares[:, :, None] * self._normals[corners]).sum(axis=1)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / np.maximum(length, np.float32(1e-9))
        away = points - found["points"].numpy()
        side = np.where((away * normal).sum(axis=1) < 0, np.float32(-1), np.float32(1))
        inner = (shares * ~self._on_edge[corners]).sum(axis=1) > _ON_EDGE
        return Nearest(side * np.linalg.norm(away, axis=1), normal, inner)


def edge_vertices(mesh: Mesh) -> Bool[np.ndarray, " vertices"]:
    """Return which vertices lie on the edge of the surface: on a side of one triangle alone."""
    sides = np.sort(mesh.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    on_edge = np.zeros(len(mesh.vertices_mm), bool)
    on_edge[unique[count == 1]] = True
    return on_edge
