"""Where a user's volume is scanned from, and whether it can be used at all."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.volume import Volume

SIDES = {
    "anterior": (0.0, 1.0, 0.0),
    "posterior": (0.0, -1.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "right": (1.0, 0.0, 0.0),
}
STEP_MM = 0.25
BACK_MM = 300.0  # how far a point inside the patient is moved back to the skin
OFF_SKIN_MM = 1.5
LEAST_VOXELS = 4
MOST_LABELS = 256


def check_volume(volume: Volume) -> None:
    """Accept a volume that a patient can be made of.

    Raises:
        InputError: It is not 3-D, too small, holds NaN, or has the same value everywhere.
    """
    data = volume.data
    if data.ndim != 3:
        raise InputError(f"the volume has {data.ndim} dimensions; expected 3, one value per voxel")
    if min(data.shape) < LEAST_VOXELS:
        raise InputError(
            f"the volume has shape {data.shape}; expected {LEAST_VOXELS} voxels or more each way"
        )
    if not np.isfinite(data).all():
        count = int((~np.isfinite(data)).sum())
        raise InputError(f"the volume has {count} voxels that are not finite; replace them first")
    if data.min() == data.max():
        raise InputError(f"the volume is {data.flat[0]:g} everywhere; expected a patient in it")


def holds_labels(data: Float32[np.ndarray, "i j k"]) -> bool:
    """Return whether values look like labels: whole numbers from 0 to 255."""
    return bool(
        data.min() >= 0 and data.max() < MOST_LABELS and np.array_equal(data, np.rint(data))
    )


def approach(
    volume: Volume,
    solid: Bool[np.ndarray, "i j k"],
    approach_mm: tuple[float, ...],
    aim_mm: tuple[float, ...],
    along: tuple[float, ...],
    side: str,
) -> Float64[np.ndarray, "4 4"]:
    """Return the pose of a scan: just off the skin, y towards the aim, z along the sweep.

    Args:
        volume: The patient, in RAS+ mm.
        solid: Voxels that belong to the patient.
        approach_mm: A point on or outside the patient.
        aim_mm: A point inside. Where it equals `approach_mm`, the volume's centre is aimed at from
            the given side.
        along: Direction of the sweep.
        side: One of `SIDES`.

    Raises:
        ConfigError: The sweep would run along the line of sight.
        InputError: The line from approach to aim does not meet the patient.
    """
    start, aim = np.array(approach_mm), np.array(aim_mm)
    if np.array_equal(start, aim):
        extent = np.ptp(volume.corners_mm, axis=0)
        aim = volume.centre_mm
        start = aim + np.array(SIDES[side]) * (0.5 * extent + 10.0)
    y = (aim - start) / np.linalg.norm(aim - start)
    z = np.array(along) - (np.array(along) @ y) * y
    if np.linalg.norm(z) < 0.1 * max(float(np.linalg.norm(along)), 1e-9):
        raise ConfigError(
            f"along is {along}, which is the direction of sight {np.round(y, 2).tolist()} or 0; "
            "expected a direction across it"
        )
    z /= np.linalg.norm(z)
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2] = np.cross(y, z), y, z
    T[:3, 3] = _skin_point(volume, solid, start, aim, y)
    return T


def _skin_point(
    volume: Volume,
    solid: Bool[np.ndarray, "i j k"],
    start_mm: Float64[np.ndarray, "3"],
    aim_mm: Float64[np.ndarray, "3"],
    y: Float64[np.ndarray, "3"],
) -> Float64[np.ndarray, "3"]:
    """Return the point just outside where the line of sight enters the patient."""
    inside = Volume(solid.astype(np.float32), volume.T_space_index)
    reach_mm = np.arange(-BACK_MM, np.linalg.norm(aim_mm - start_mm) + STEP_MM, STEP_MM)
    met = inside.sample(start_mm + reach_mm[:, None] * y, fill=0.0) > 0.5
    first = round(BACK_MM / STEP_MM)
    if met[first]:
        outside = np.flatnonzero(~met[:first])
        if outside.size:
            return np.asarray(start_mm + (reach_mm[outside[-1]] - OFF_SKIN_MM) * y)
    elif met[first:].any():
        entered = first + int(np.argmax(met[first:]))
        return np.asarray(start_mm + (reach_mm[entered] - OFF_SKIN_MM) * y)
    low, high = volume.corners_mm.min(axis=0), volume.corners_mm.max(axis=0)
    raise InputError(
        f"the line from approach_mm {np.round(start_mm, 1).tolist()} to aim_mm "
        f"{np.round(aim_mm, 1).tolist()} does not enter the patient; the volume reaches from "
        f"{np.round(low, 1).tolist()} to {np.round(high, 1).tolist()} mm (RAS)"
    )
