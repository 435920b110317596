"""An axis-aligned voxel grid with isotropic spacing."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from us_recon.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Voxel centres at ``origin_mm + spacing_mm * (i, j, k)``.

    Attributes:
        origin_mm: Centre of voxel (0, 0, 0).
        spacing_mm: Edge of a voxel.
        shape: Number of voxels along x, y, z.
    """

    origin_mm: tuple[float, float, float]
    spacing_mm: float
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not self.spacing_mm > 0:
            raise InputError(f"spacing_mm is {self.spacing_mm}; expected more than 0")
        if min(self.shape) < 1:
            raise InputError(f"shape is {self.shape}; expected at least one voxel along each axis")

    @classmethod
    def around(
        cls,
        low_mm: Float[np.ndarray, "3"],
        high_mm: Float[np.ndarray, "3"],
        spacing_mm: float,
    ) -> "Grid":
        """Return the grid that starts at `low_mm` and reaches at least `high_mm`."""
        # Rounding first: a span of exactly n spacings must not gain a layer through 1e-16.
        steps = np.ceil(np.round((high_mm - low_mm) / spacing_mm, 6)).astype(int)
        return cls(
            origin_mm=(float(low_mm[0]), float(low_mm[1]), float(low_mm[2])),
            spacing_mm=float(spacing_mm),
            shape=(int(steps[0]) + 1, int(steps[1]) + 1, int(steps[2]) + 1),
        )

    def index_to_mm(self, index: Int[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """Return the centres (mm) of voxels given by integer index."""
        return np.asarray(self.origin_mm) + self.spacing_mm * index

    def mm_to_index(self, points_mm: Float[np.ndarray, "*n 3"]) -> Int[np.ndarray, "*n 3"]:
        """Return the index of the voxel that holds each point; it may lie outside the grid."""
        scaled = (points_mm - np.asarray(self.origin_mm)) / self.spacing_mm
        return np.floor(scaled + 0.5).astype(np.int64)

    @property
    def T_space_index(self) -> Float64[np.ndarray, "4 4"]:
        """The affine that maps homogeneous voxel indices to millimetres."""
        T = np.diag([self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        T[:3, 3] = self.origin_mm
        return T
