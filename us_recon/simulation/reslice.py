"""Tracked frames cut out of a compounded volume, for scans published without their frames."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from us_recon.errors import InputError
from us_recon.geometry.rigid import interpolate_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume


def reslice(
    volume: Volume,
    geometry: ProbeGeometry,
    T_world_transducer: Float64[np.ndarray, "4 4"],
    stamp_ns: int,
) -> TrackedFrame:
    """Cut one frame out of a volume.

    Args:
        volume: Brightness 0 to 255 in world space; 0 where the volume was not scanned.
        geometry: Probe whose image is wanted.
        T_world_transducer: Rigid pose of its array face.
        stamp_ns: Stamp of the frame.

    Returns:
        The frame, interpolated trilinearly. Pixels outside the fan or beside an unscanned voxel
        are 0.
    """
    plane = geometry.pixels_to_mm(geometry.pixel_grid)
    points = transform_points(T_world_transducer, np.pad(plane, ((0, 0), (0, 0), (0, 1))))
    scanned = Volume((volume.data > 0).astype(np.float32), volume.T_space_index)
    shown = geometry.fan_mask & (scanned.sample(points, fill=0.0) > 0.999)
    image = np.where(shown, volume.sample(points, fill=0.0), 0.0)
    return TrackedFrame(
        stamp_ns=stamp_ns,
        image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
        T_world_transducer=T_world_transducer,
        geometry=geometry,
    )


def sweep(
    volume: Volume,
    geometry: ProbeGeometry,
    T_world_first: Float64[np.ndarray, "4 4"],
    T_world_last: Float64[np.ndarray, "4 4"],
    count: int,
    period_ns: int = 50_000_000,
) -> Iterator[TrackedFrame]:
    """Cut frames out of a volume while the probe moves evenly from one pose to another.

    Raises:
        InputError: `count` is less than 2.
    """
    if count < 2:
        raise InputError(f"sweep: count is {count}; expected 2 frames or more")
    for number in range(count):
        T = interpolate_rigid(T_world_first, T_world_last, number / (count - 1))
        yield reslice(volume, geometry, T, number * period_ns)
