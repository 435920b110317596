"""The voxels that a thin image plane passes through, in the probe's own coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from us_recon.geometry.rigid import invert_rigid, transform_points


@dataclass(frozen=True)
class PlaneRegion:
    """A rectangle of the image plane and how far the slab reaches on either side of it."""

    x_mm: tuple[float, float]
    y_mm: tuple[float, float]
    half_thickness_mm: float


@dataclass(frozen=True, eq=False)
class Slab:
    """Voxels of a slab.

    Attributes:
        voxels: Voxel indices in the world grid.
        local_mm: Their centres in the transducer frame.
    """

    voxels: Int64[np.ndarray, "n 3"]
    local_mm: Float32[np.ndarray, "n 3"]


def voxels_in_slab(
    T_world_transducer: Float64[np.ndarray, "4 4"], region: PlaneRegion, spacing_mm: float
) -> Slab:
    """List the voxels whose centres lie within a slab around part of the image plane.

    Columns of voxels along the axis nearest to the plane's normal are cut with the slab, so that
    the work follows the slab's size and not that of its bounding box.

    Args:
        T_world_transducer: Pose of the array face, mm.
        region: The slab, in the transducer frame.
        spacing_mm: Edge of a voxel; voxel (i, j, k) has its centre at ``spacing_mm * (i, j, k)``.
    """
    normal = T_world_transducer[:3, 2]
    along = int(np.abs(normal).argmax())
    a, b = (axis for axis in range(3) if axis != along)
    low, high = _bounds(T_world_transducer, region)
    first = np.ceil(low / spacing_mm).astype(np.int64)
    last = np.floor(high / spacing_mm).astype(np.int64)
    u, v = np.meshgrid(
        np.arange(first[a], last[a] + 1), np.arange(first[b], last[b] + 1), indexing="ij"
    )
    # Where the column meets the plane: normal . (p - origin) = 0, solved for p[along].
    offset = normal @ T_world_transducer[:3, 3]
    in_plane_mm = spacing_mm * (normal[a] * u + normal[b] * v)
    meets = (offset - in_plane_mm) / (normal[along] * spacing_mm)
    reach = region.half_thickness_mm / (abs(normal[along]) * spacing_mm)
    steps = np.arange(int(np.floor(2 * reach)) + 1)
    w = np.ceil(meets - reach).astype(np.int64)[..., None] + steps
    voxels = np.empty((*w.shape, 3), np.int64)
    voxels[..., a], voxels[..., b], voxels[..., along] = u[..., None], v[..., None], w
    voxels = voxels[w <= (meets + reach)[..., None]]
    local = transform_points(invert_rigid(T_world_transducer), voxels * spacing_mm)
    inside = (
        (local[:, 0] >= region.x_mm[0])
        & (local[:, 0] <= region.x_mm[1])
        & (local[:, 1] >= region.y_mm[0])
        & (local[:, 1] <= region.y_mm[1])
    )
    return Slab(voxels[inside], local[inside].astype(np.float32))


def _bounds(
    T_world_transducer: Float64[np.ndarray, "4 4"], region: PlaneRegion
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    z = region.half_thickness_mm
    corners = np.array([(x, y, s) for x in region.x_mm for y in region.y_mm for s in (-z, z)])
    world = transform_points(T_world_transducer, corners)
    return world.min(axis=0), world.max(axis=0)
