"""Join the surface that was seen with the part of a shape that was not."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.occupancy.block_grid import block_keys
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import vertex_normals
from us_recon.occupancy.mesh_tools import around_vertices, joined
from us_recon.occupancy.prior.distance import SignedSurface
from us_recon.occupancy.prior.fit import Fit
from us_recon.occupancy.prior.shape import ShapePrior

_HALF_CERTAIN_MM = 1.0  # standard deviation at which a vertex counts as half certain


def filled_in(
    measured: Mesh,
    prior: ShapePrior,
    fit: Fit,
    empty: Int64[np.ndarray, "n 3"],
    spacing_mm: float,
    cut_mm: float,
) -> Mesh:
    """Return the measured surface as it is, and of the shape what lies beyond it.

    Of the shape is left out what lies along the measured surface, facing the same way, and what
    lies in space that was seen to be empty. One row of triangles overlaps, which leaves no gap.

    Args:
        measured: The surface seen, in the world.
        prior: The population.
        fit: Pose and member.
        empty: Voxels seen to be empty.
        spacing_mm: Their edge.
        cut_mm: How far from the measured surface the shape still counts as the same surface.

    Returns:
        Both, with `observed` set; the confidence of what is filled in is that of the fit.
    """
    shape = prior.mesh(fit.coefficients)
    T_world_prior = invert_rigid(fit.T_prior_world)
    vertices_mm = transform_points(T_world_prior, shape.vertices_mm.astype(np.float64))
    world = Mesh(
        vertices_mm.astype(np.float32),
        shape.triangles,
        _confidence(prior, fit, shape.vertices_mm.astype(np.float64)),
        np.zeros(len(vertices_mm), bool),
    )
    hidden = _along(measured, world, cut_mm, spacing_mm)
    voxels = np.rint(vertices_mm / spacing_mm).astype(np.int64)
    hidden |= np.isin(block_keys(voxels), block_keys(empty))
    observed = Mesh(
        measured.vertices_mm,
        measured.triangles,
        measured.confidence,
        np.ones(len(measured.vertices_mm), bool),
    )
    return joined(observed, around_vertices(world, ~hidden))


def _along(
    measured: Mesh, shape: Mesh, cut_mm: float, spacing_mm: float
) -> Bool[np.ndarray, " vertices"]:
    """Return which vertices of the shape the measured surface stands for."""
    nearest = SignedSurface(measured).nearest(shape.vertices_mm)
    same_way = (nearest.normal * vertex_normals(shape)).sum(axis=1) > 0
    off_mm = np.abs(nearest.distance_mm)
    return same_way & ((nearest.inner & (off_mm < cut_mm)) | (off_mm < spacing_mm))


def _confidence(
    prior: ShapePrior, fit: Fit, points_mm: Float64[np.ndarray, "n 3"]
) -> Float32[np.ndarray, " n"]:
    """Return how sure each point of the shape is, from what the fit left open (Laplace)."""
    found = prior.distances(points_mm, fit.coefficients)
    turn = np.cross(points_mm, found.gradient)
    jacobian = np.column_stack([found.gradient, turn, found.modes_mm])
    covariance = np.linalg.inv(fit.information)
    variance = np.einsum("ni,ij,nj->n", jacobian, covariance, jacobian)
    variance += prior.training.residual_mm**2
    return (1.0 / (1.0 + variance / _HALF_CERTAIN_MM**2)).astype(np.float32)
