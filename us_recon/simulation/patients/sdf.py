"""Signed distances of simple solids, negative inside, and how to join them smoothly.

Source: Quilez, "Distance functions" (iquilezles.org/articles/distfunctions); the smooth union is
the quadratic polynomial one. Distances are exact for capsules and boxes, bounds elsewhere, and
exact enough near their zero for everything the scanner does with them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

Vector = Sequence[float]


def capsule(
    points_mm: Float32[np.ndarray, "n 3"],
    start_mm: Vector,
    end_mm: Vector,
    start_radius_mm: float,
    end_radius_mm: float | None = None,
    flatten: Vector = (1.0, 1.0, 1.0),
) -> Float32[np.ndarray, " n"]:
    """Return the distance to a rod with round ends whose radius changes linearly.

    Args:
        points_mm: Where to evaluate.
        start_mm: Centre of the first end.
        end_mm: Centre of the second end.
        start_radius_mm: Radius at the first end.
        end_radius_mm: Radius at the second end, the same unless told.
        flatten: Radii along x, y, z relative to the nominal one (a scaled distance).
    """
    scale = np.asarray(flatten, dtype=np.float32)
    start = np.asarray(start_mm, dtype=np.float32) / scale
    axis = np.asarray(end_mm, dtype=np.float32) / scale - start
    from_start = points_mm / scale - start
    along = np.clip(from_start @ axis / np.float32(axis @ axis), 0.0, 1.0)
    end_radius = start_radius_mm if end_radius_mm is None else end_radius_mm
    radius = start_radius_mm + along * np.float32(end_radius - start_radius_mm)
    distance = np.linalg.norm(from_start - along[:, None] * axis, axis=1) - radius
    return np.asarray(distance * scale.min(), dtype=np.float32)


def rounded_box(
    points_mm: Float32[np.ndarray, "n 3"], centre_mm: Vector, half_mm: Vector, round_mm: float
) -> Float32[np.ndarray, " n"]:
    """Return the distance to a box with half edges `half_mm` and edges rounded by `round_mm`."""
    centre = np.asarray(centre_mm, dtype=np.float32)
    inner = np.asarray(half_mm, dtype=np.float32) - np.float32(round_mm)
    beyond = np.abs(points_mm - centre) - inner
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
    inside = np.minimum(beyond.max(axis=1), 0.0)
    return np.asarray(outside + inside - round_mm, dtype=np.float32)


def elliptic_cylinder(
    points_mm: Float32[np.ndarray, "n 3"],
    centre_mm: Vector,
    radius_x_mm: float,
    radius_y_mm: float,
    half_height_mm: float,
    waist: float = 0.0,
    round_mm: float = 0.0,
) -> Float32[np.ndarray, " n"]:
    """Return about the distance to an upright elliptic cylinder.

    Args:
        points_mm: Where to evaluate.
        centre_mm: Centre.
        radius_x_mm: Half axis along x.
        radius_y_mm: Half axis along y.
        half_height_mm: Half the height along z.
        waist: Share by which the section shrinks at mid height.
        round_mm: Rounding of the rims.
    """
    x, y, z = (points_mm - np.asarray(centre_mm, dtype=np.float32)).T
    shrink = 1.0 - waist * np.clip(1.0 - (z / half_height_mm) ** 2, 0.0, 1.0)
    a = (radius_x_mm - round_mm) * shrink
    b = (radius_y_mm - round_mm) * shrink
    reach = np.maximum(np.sqrt((x / a) ** 2 + (y / b) ** 2), 1e-6)  # the axis has no direction
    gradient = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2)
    across = reach * (reach - 1.0) / np.maximum(gradient, reach / np.maximum(a, b))
    across = np.maximum(across, -np.minimum(a, b))
    along = np.abs(z) - (half_height_mm - round_mm)
    beyond = np.stack([across, along], axis=1)
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
    inside = np.minimum(beyond.max(axis=1), 0.0)
    return np.asarray(outside + inside - round_mm, dtype=np.float32)


def smooth_union(
    first: Float32[np.ndarray, " n"], second: Float32[np.ndarray, " n"], blend_mm: float
) -> Float32[np.ndarray, " n"]:
    """Return the union of two solids with a fillet of about `blend_mm` where they meet."""
    overlap = np.maximum(blend_mm - np.abs(first - second), 0.0) / blend_mm
    joined = np.minimum(first, second) - overlap**2 * np.float32(blend_mm / 4.0)
    return np.asarray(joined, dtype=np.float32)
