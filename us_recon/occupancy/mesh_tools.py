"""Cleaning and decimation of meshes."""

from collections.abc import Callable

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float32, Float64
from scipy.spatial import KDTree

from us_recon.errors import InputError
from us_recon.occupancy.connected import connected_parts
from us_recon.occupancy.mesh import Mesh

Points = Float32[np.ndarray, "n 3"]


def to_open3d(mesh: Mesh) -> o3d.geometry.TriangleMesh:
    """Return the mesh as Open3D's; the confidence does not go with it."""
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices_mm.astype(np.float64)),
        o3d.utility.Vector3iVector(mesh.triangles),
    )


def from_open3d(mesh: o3d.geometry.TriangleMesh) -> Mesh:
    """Return an Open3D mesh as plain arrays, without confidence."""
    return Mesh(
        vertices_mm=np.asarray(mesh.vertices, dtype=np.float32).reshape(-1, 3),
        triangles=np.asarray(mesh.triangles, dtype=np.int32).reshape(-1, 3),
    )


def without_small_parts(
    mesh: Mesh,
    min_area_mm2: float,
    known: Callable[[Points], Bool[np.ndarray, " n"]] | None = None,
) -> Mesh:
    """Drop connected parts whose area is below `min_area_mm2` and the vertices they leave.

    Speckle and short stretches of fascia give such parts.

    Args:
        mesh: The mesh.
        min_area_mm2: Larger parts stay.
        known: Tells of vertices of small parts which something else speaks for; one is enough for
            its part to stay.
    """
    if mesh.is_empty or min_area_mm2 <= 0:
        return mesh
    part = connected_parts(mesh.triangles)
    kept = np.bincount(part, weights=mesh.areas_mm2()) >= min_area_mm2
    small = ~kept[part]
    if known is not None and small.any():
        vertices, at = np.unique(mesh.triangles[small], return_index=True)
        kept[part[small][at[known(mesh.vertices_mm[vertices])] // 3]] = True
    return mesh if kept.all() else _with_triangles(mesh, kept[part])


def parts_near(mesh: Mesh, points_mm: Float64[np.ndarray, "n 3"], reach_mm: float) -> Mesh:
    """Drop connected parts that come nowhere within `reach_mm` of any point."""
    if mesh.is_empty or len(points_mm) == 0:
        return Mesh.empty()
    part = connected_parts(mesh.triangles)
    far_mm, _ = KDTree(points_mm).query(mesh.vertices_mm, distance_upper_bound=reach_mm)
    near = np.isfinite(far_mm)[mesh.triangles].any(axis=1)
    kept = np.bincount(part, weights=near) > 0
    return _with_triangles(mesh, kept[part])


def decimated(mesh: Mesh, max_triangles: int) -> Mesh:
    """Return the mesh with at most `max_triangles` triangles (quadric edge collapse).

    Confidence and what was observed are for each new vertex those of the nearest old one.

    Raises:
        InputError: `max_triangles` is below 1.
    """
    if max_triangles < 1:
        raise InputError(f"max_triangles is {max_triangles}; expected 1 or more")
    if len(mesh.triangles) <= max_triangles:
        return mesh
    fewer = from_open3d(to_open3d(mesh).simplify_quadric_decimation(max_triangles))
    _, nearest = KDTree(mesh.vertices_mm).query(fewer.vertices_mm)
    return Mesh(
        fewer.vertices_mm,
        fewer.triangles,
        confidence=None if mesh.confidence is None else mesh.confidence[nearest],
        observed=None if mesh.observed is None else mesh.observed[nearest],
    )


def around_vertices(mesh: Mesh, keep: Bool[np.ndarray, " vertices"]) -> Mesh:
    """Return the triangles that have any of these vertices."""
    return _with_triangles(mesh, keep[mesh.triangles].any(axis=1))


def joined(first: Mesh, second: Mesh) -> Mesh:
    """Return two meshes as one; of a property that only one has there is none."""
    triangles = second.triangles + np.int32(len(first.vertices_mm))
    both = [(first.confidence, second.confidence), (first.observed, second.observed)]
    confidence, observed = (
        None if a is None or b is None else np.concatenate([a, b]) for a, b in both
    )
    return Mesh(
        np.concatenate([first.vertices_mm, second.vertices_mm]),
        np.concatenate([first.triangles, triangles]),
        confidence,
        observed,
    )


def _with_triangles(mesh: Mesh, keep: Bool[np.ndarray, " triangles"]) -> Mesh:
    kept = mesh.triangles[keep]
    used = np.zeros(len(mesh.vertices_mm), bool)
    used[kept] = True
    new_number = np.cumsum(used, dtype=np.int32) - 1
    return Mesh(
        vertices_mm=mesh.vertices_mm[used],
        triangles=new_number[kept].astype(np.int32),
        confidence=None if mesh.confidence is None else mesh.confidence[used],
        observed=None if mesh.observed is None else mesh.observed[used],
    )
