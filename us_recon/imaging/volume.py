"""A scalar image volume with its place in space."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import map_coordinates

from us_recon.errors import InputError


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values and the affine from voxel index to millimetres.

    Attributes:
        data: Values indexed (i, j, k).
        T_space_index: Maps ``(i, j, k, 1)`` to millimetres in the volume's space (RAS+ for MRI).
    """

    data: Float32[np.ndarray, "i j k"]
    T_space_index: Float64[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        determinant = np.linalg.det(self.T_space_index[:3, :3])
        if not np.isfinite(determinant) or abs(determinant) < 1e-9:
            raise InputError(
                f"volume: the affine's determinant is {determinant}; expected an invertible affine"
            )

    @cached_property
    def T_index_space(self) -> Float64[np.ndarray, "4 4"]:
        """Maps homogeneous millimetres to voxel indices."""
        return np.linalg.inv(self.T_space_index)

    @property
    def spacing_mm(self) -> Float64[np.ndarray, "3"]:
        """Distance between neighbouring voxels along each index axis."""
        return np.asarray(np.linalg.norm(self.T_space_index[:3, :3], axis=0))

    @property
    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """Centres of the eight corner voxels."""
        high = np.array(self.data.shape) - 1
        index = np.stack(np.meshgrid(*[[0, h] for h in high], indexing="ij"), -1).reshape(-1, 3)
        return index @ self.T_space_index[:3, :3].T + self.T_space_index[:3, 3]

    @property
    def centre_mm(self) -> Float64[np.ndarray, "3"]:
        """Centre of the volume."""
        return np.asarray(self.corners_mm.mean(axis=0))

    def index_of(self, points_mm: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """Return fractional voxel indices of points."""
        return points_mm @ self.T_index_space[:3, :3].T + self.T_index_space[:3, 3]

    def sample(
        self, points_mm: Float[np.ndarray, "*n 3"], fill: float = np.nan, order: int = 1
    ) -> Float32[np.ndarray, "*n"]:
        """Interpolate the volume at points; points outside it get `fill`, NaN unless told.

        Args:
            points_mm: Points in the volume's space.
            fill: Value outside the voxel centres' hull.
            order: 0 nearest, 1 trilinear, 3 cubic spline.
        """
        index = np.moveaxis(self.index_of(points_mm), -1, 0)
        values = map_coordinates(self.data, index, order=order, mode="nearest")
        high = np.array(self.data.shape).reshape(3, *[1] * (index.ndim - 1)) - 1
        inside = np.all((index >= -1e-6) & (index <= high + 1e-6), axis=0)
        return np.where(inside, values, np.float32(fill)).astype(np.float32)
