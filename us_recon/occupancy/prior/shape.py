"""A population of shapes as signed distances: a mean and a few ways to differ from it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from skimage.measure import marching_cubes

from us_recon.geometry.grid import Grid
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.prior.interpolation import interpolate

Coefficients = Float64[np.ndarray, " modes"]


@dataclass(frozen=True)
class Training:
    """What a prior was made from.

    Attributes:
        anatomy: Its name, as the user gave it; may be empty.
        subjects: File names of the earlier subjects.
        variance_explained: Share of the variance between them that the modes explain.
        residual_mm: Root mean square distance of the subjects' surfaces to the modes' best answer.
    """

    anatomy: str
    subjects: tuple[str, ...]
    variance_explained: float
    residual_mm: float


@dataclass(frozen=True, eq=False)
class Distances:
    """Signed distances of one member of the population at some points.

    Attributes:
        value_mm: Distance, below 0 inside.
        gradient: Its gradient with respect to the point.
        modes_mm: How the distance changes with each coefficient.
    """

    value_mm: Float64[np.ndarray, " n"]
    gradient: Float64[np.ndarray, "n 3"]
    modes_mm: Float64[np.ndarray, "n modes"]


@dataclass(frozen=True, eq=False)
class ShapePrior:
    """Mean and modes of signed distance on a grid (Leventon, Grimson and Faugeras 2000).

    A member is ``mean + modes @ coefficients``; over the population each coefficient has a mean of
    0 and a standard deviation of 1. Its frame, `prior`, is that of the training.

    Attributes:
        grid: Voxels in the frame of the prior.
        fields_mm: The mean, then the modes, each scaled by its standard deviation; float32.
        known: Voxels that some subject knew something about; elsewhere there is no surface.
        training: What it was made from.
    """

    grid: Grid
    fields_mm: Float32[np.ndarray, "i j k fields"]
    known: Bool[np.ndarray, "i j k"]
    training: Training

    @property
    def mode_count(self) -> int:
        """Number of modes."""
        return self.fields_mm.shape[-1] - 1

    @cached_property
    def mean_mesh(self) -> Mesh:
        """Surface of the mean."""
        return self.mesh(np.zeros(self.mode_count))

    @cached_property
    def size_mm(self) -> float:
        """Longest extent of the mean's surface."""
        vertices = self.mean_mesh.vertices_mm
        return float((vertices.max(axis=0) - vertices.min(axis=0)).max())

    @cached_property
    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """Corners of the box around the mean's surface, by which places are compared."""
        vertices = self.mean_mesh.vertices_mm.astype(np.float64)
        ends = np.stack([vertices.min(axis=0), vertices.max(axis=0)])
        return np.array([[ends[x, 0], ends[y, 1], ends[z, 2]] for x, y, z in np.ndindex(2, 2, 2)])

    def mean_only(self) -> "ShapePrior":
        """Return the prior without modes."""
        mean = np.ascontiguousarray(self.fields_mm[..., :1])
        return ShapePrior(self.grid, mean, self.known, self.training)

    def distances(
        self, points_mm: Float[np.ndarray, "n 3"], coefficients: Coefficients
    ) -> Distances:
        """Interpolate the distances of a member.

        Outside of the grid, how far outside is added to the distance at the border.

        Args:
            points_mm: Points in the frame of the prior.
            coefficients: Which member.
        """
        count, spacing_mm = len(points_mm), self.grid.spacing_mm
        scaled = (points_mm - np.asarray(self.grid.origin_mm)) / spacing_mm
        value, gradient = np.empty(count), np.empty((count, 3))
        modes = np.empty((count, self.mode_count))
        mix = np.concatenate([[1.0], coefficients])
        interpolate(scaled, self.fields_mm, mix, spacing_mm, value, gradient, modes)
        return Distances(value, gradient, modes)

    def volume_mm3(self, coefficients: Coefficients) -> float:
        """Return the volume of a member."""
        mix = np.concatenate([[1.0], coefficients]).astype(np.float32)
        return float((self.fields_mm @ mix < 0).sum()) * self.grid.spacing_mm**3

    def mesh(self, coefficients: Coefficients) -> Mesh:
        """Return the surface of a member in the frame of the prior; empty where it has none."""
        mix = np.concatenate([[1.0], coefficients]).astype(np.float32)
        value = self.fields_mm @ mix
        value[np.abs(value) < 1e-4] = 1e-4  # of exactly zero come triangles without area
        if not (value < 0).any():
            return Mesh.empty()
        outside = np.pad(value, 1, constant_values=float(np.abs(value).max()))
        position, triangles, _, _ = marching_cubes(outside, 0.0)
        index = np.clip(np.rint(position - 1).astype(int), 0, np.array(self.grid.shape) - 1)
        known = self.known[tuple(index.T)]
        triangles = triangles[known[triangles].all(axis=1)]
        vertices_mm = np.asarray(self.grid.origin_mm) + (position - 1) * self.grid.spacing_mm
        used, triangles = np.unique(triangles, return_inverse=True)
        return Mesh(vertices_mm[used].astype(np.float32), triangles.reshape(-1, 3).astype(np.int32))
