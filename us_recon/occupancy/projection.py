"""Where voxels near an image plane lie relative to the target that the image shows."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64

from us_recon.occupancy.region import LabelledRegion, Shown
from us_recon.occupancy.slab import PlaneRegion, voxels_in_slab
from us_recon.occupancy.surface import BeamSurface

_ROWS_AT_ONCE = 32_000  # cv2.remap takes no more than 32 767
_ZERO = (0.0,) * 4
_JUMP_MM = 3.0  # neighbouring beams further apart are on different surfaces


@dataclass(frozen=True, eq=False)
class ObservedVoxels:
    """Voxels that one frame says something about.

    Attributes:
        voxels: Voxel indices in the world grid.
        front_mm: Distance along the beam to the surface; above 0 in front of it, below 0 behind.
            Of a region: distance in the image plane to its wall, below 0 inside.
        weight: Confidence of the beam times what the surface is worth times how near the voxel is
            to the image plane, above 0.
    """

    voxels: Int64[np.ndarray, "n 3"]
    front_mm: Float32[np.ndarray, " n"]
    weight: Float32[np.ndarray, " n"]


def observe(
    T_world_transducer: Float64[np.ndarray, "4 4"],
    shown: Shown,
    spacing_mm: float,
    *,
    half_thickness_mm: float,
    behind_mm: float,
    in_front_mm: float = np.inf,
) -> ObservedVoxels:
    """List the voxels in front of the surface and shortly behind it, within the image's slab.

    Of a region that sound passes, all voxels inside it are listed.

    The weight falls off linearly across the slab. Where slabs of neighbouring frames overlap,
    their weighted mean is then the linear interpolation between the two images.

    Args:
        T_world_transducer: Pose of the array face, mm.
        shown: The frame's surface, whose beams without one observe nothing, or its region.
        spacing_mm: Edge of a voxel.
        half_thickness_mm: How far the image speaks for voxels off its plane.
        behind_mm: How far behind the surface voxels are listed.
        in_front_mm: How far in front of it, up to the array face.
    """
    if isinstance(shown, LabelledRegion):
        return _observe_region(T_world_transducer, shown, spacing_mm, half_thickness_mm)
    return _observe_surface(
        T_world_transducer, shown, spacing_mm, half_thickness_mm, behind_mm, in_front_mm
    )


def _observe_region(
    T_world_transducer: Float64[np.ndarray, "4 4"],
    region: LabelledRegion,
    spacing_mm: float,
    half_thickness_mm: float,
) -> ObservedVoxels:
    geometry = region.geometry
    ends = geometry.pixels_to_mm(geometry.pixel_grid[region.known])
    if len(ends) == 0:
        return _nothing()
    (left, top), (right, bottom) = ends.min(axis=0), ends.max(axis=0)
    plane = PlaneRegion((left, right), (top, bottom), half_thickness_mm)
    slab = voxels_in_slab(T_world_transducer, plane, spacing_mm)
    at_px = geometry.mm_to_pixels(slab.local_mm[:, :2]).astype(np.float32)
    outside_mm = _look_up(region.outside_mm, at_px, cv2.BORDER_REPLICATE)
    known = _look_up(region.known.astype(np.float32), at_px, cv2.BORDER_CONSTANT) > 0.5
    weight = 1.0 - np.abs(slab.local_mm[:, 2]) / np.float32(half_thickness_mm)
    keep = known & (weight > 0)
    return ObservedVoxels(slab.voxels[keep], outside_mm[keep], weight[keep])


def _look_up(
    image: Float32[np.ndarray, "rows columns"], at_px: Float32[np.ndarray, "n 2"], border: int
) -> Float32[np.ndarray, " n"]:
    """Interpolate an image at (column, row); beyond it by its border's value or by 0."""
    parts = [
        cv2.remap(
            image, part[:, :1], part[:, 1:], cv2.INTER_LINEAR, borderMode=border, borderValue=_ZERO
        )
        for part in np.split(at_px, range(_ROWS_AT_ONCE, len(at_px), _ROWS_AT_ONCE))
        if len(part)
    ]
    return np.concatenate(parts or [np.zeros((0, 1))])[:, 0].astype(np.float32)


def _observe_surface(
    T_world_transducer: Float64[np.ndarray, "4 4"],
    surface: BeamSurface,
    spacing_mm: float,
    half_thickness_mm: float,
    behind_mm: float,
    in_front_mm: float,
) -> ObservedVoxels:
    region = _region(surface, half_thickness_mm, behind_mm, in_front_mm)
    if region is None:
        return _nothing()
    slab = voxels_in_slab(T_world_transducer, region, spacing_mm)
    index = surface.geometry.mm_to_beams(slab.local_mm[:, :2].astype(np.float64))
    reach_mm = index[:, 1] * surface.geometry.sample_step_mm
    depth_mm, confidence = surface.between_beams(index[:, 0], jump_mm=_JUMP_MM)
    front_mm = (depth_mm - reach_mm).astype(np.float32)
    confidence = confidence * np.float32(surface.worth)
    weight = confidence * (1.0 - np.abs(slab.local_mm[:, 2]) / np.float32(half_thickness_mm))
    # A beam without a surface has NaN here and fails every comparison.
    keep = (front_mm >= -behind_mm) & (front_mm <= in_front_mm) & (reach_mm >= 0) & (weight > 0)
    return ObservedVoxels(slab.voxels[keep], front_mm[keep], weight[keep].astype(np.float32))


def _nothing() -> ObservedVoxels:
    none = np.zeros(0, np.float32)
    return ObservedVoxels(np.zeros((0, 3), np.int64), none, none)


def _region(
    surface: BeamSurface, half_thickness_mm: float, behind_mm: float, in_front_mm: float
) -> PlaneRegion | None:
    found = np.flatnonzero(surface.found)
    if len(found) == 0:
        return None
    geometry = surface.geometry
    depth_mm = surface.depth_mm[found].astype(np.float64)
    nearest_mm = np.maximum(depth_mm - in_front_mm, 0.0)
    ends = np.concatenate(
        [
            geometry.beam_origins_mm[found] + reach[:, None] * geometry.beam_directions[found]
            for reach in (nearest_mm, depth_mm + behind_mm)
        ]
    )
    # A beam speaks for half the way to its neighbours.
    spread_mm = float(np.abs(np.diff(geometry.beam_points_mm[:, -1, 0])).max())
    low, high = ends.min(axis=0), ends.max(axis=0)
    return PlaneRegion(
        x_mm=(low[0] - spread_mm, high[0] + spread_mm),
        y_mm=(low[1], high[1]),
        half_thickness_mm=half_thickness_mm,
    )
