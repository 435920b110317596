"""Branching vessels: rods that taper, each splitting into two thinner ones.

The cube of a vessel's radius is the sum of the cubes of its branches' (Murray, Proc Natl Acad Sci
12 (1926) 207); angles and lengths are set by us.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from us_recon.compiled import compiled

Vector = Float64[np.ndarray, "3"]
Inside = Callable[[Vector], bool]

SHRINK = 0.5 ** (1.0 / 3.0)  # radius of each of two equal branches
SHORTEN = 0.84
ANGLE_DEG = (20.0, 48.0)
WOBBLE = 0.07  # sideways bend of a branch relative to its length
TAPER = 0.94  # from one end of half a branch to the other
THINNEST_MM = 0.7
TRIES = 25

_COLUMNS = 8  # start, end, both radii


class VesselTree:
    """Rods with round ends.

    Args:
        rods: One row per rod: start and end (mm), radius at both (mm).
    """

    def __init__(self, rods: Float32[np.ndarray, "n 8"]) -> None:
        self.rods = rods

    def distance_mm(
        self, points_mm: Float32[np.ndarray, "n 3"], far_mm: float = 6.0
    ) -> Float32[np.ndarray, " n"]:
        """Return the distance to the nearest rod, negative inside, at most `far_mm`."""
        distance = np.full(len(points_mm), far_mm, dtype=np.float32)
        _nearest(np.ascontiguousarray(points_mm), self.rods, distance)
        return distance


def grow(
    rng: np.random.Generator,
    start_mm: Vector,
    direction: Vector,
    radius_mm: float,
    length_mm: float,
    generations: int,
    inside: Inside,
) -> list[list[float]]:
    """Return the rods of a branch and of all that spring from it.

    Args:
        rng: Draws angles and lengths.
        start_mm: Where it begins.
        direction: Where it leads, a unit vector.
        radius_mm: Radius at its start.
        length_mm: Its length.
        generations: How often it splits.
        inside: Tells whether a point may be reached; branches that leave are not grown.
    """
    across = _perpendicular(rng, direction)
    middle = start_mm + 0.5 * length_mm * direction
    middle = middle + rng.normal(0.0, WOBBLE) * length_mm * across
    end = start_mm + length_mm * direction
    radii = radius_mm * TAPER ** np.arange(3)
    rods = [
        [*start_mm, *middle, radii[0], radii[1]],
        [*middle, *end, radii[1], radii[2]],
    ]
    if generations == 0:
        return rods
    axis = _perpendicular(rng, direction)
    for side in (-1.0, 1.0):
        radius = radii[2] * SHRINK * rng.uniform(0.88, 1.08)
        length = length_mm * SHORTEN * rng.uniform(0.85, 1.15)
        for _ in range(TRIES):
            angle = side * np.radians(rng.uniform(*ANGLE_DEG))
            turned = Rotation.from_rotvec(angle * axis).apply(direction)
            if radius > THINNEST_MM and inside(end + length * turned):
                rods += grow(rng, end, turned, radius, length, generations - 1, inside)
                break
            axis = _perpendicular(rng, direction)
    return rods


def _perpendicular(rng: np.random.Generator, direction: Vector) -> Vector:
    free = rng.standard_normal(3)
    free -= (free @ direction) * direction
    return np.asarray(free / np.linalg.norm(free))


@compiled
def _nearest(
    points: NDArray[np.float32], rods: NDArray[np.float32], distance: NDArray[np.float32]
) -> None:
    one, zero = np.float32(1.0), np.float32(0.0)
    for r in range(rods.shape[0]):
        ax, ay, az = rods[r, 0], rods[r, 1], rods[r, 2]
        dx, dy, dz = rods[r, 3] - ax, rods[r, 4] - ay, rods[r, 5] - az
        squared = dx * dx + dy * dy + dz * dz
        first, grown = rods[r, 6], rods[r, 7] - rods[r, 6]
        widest = max(rods[r, 6], rods[r, 7])
        for n in range(points.shape[0]):
            reach = distance[n] + widest
            x = points[n, 0] - ax
            if x < min(dx, zero) - reach or x > max(dx, zero) + reach:
                continue
            y, z = points[n, 1] - ay, points[n, 2] - az
            if y < min(dy, zero) - reach or y > max(dy, zero) + reach:
                continue
            if z < min(dz, zero) - reach or z > max(dz, zero) + reach:
                continue
            along = min(max((x * dx + y * dy + z * dz) / squared, zero), one)
            x, y, z = x - along * dx, y - along * dy, z - along * dz
            found = np.sqrt(x * x + y * y + z * z) - first - along * grown
            distance[n] = min(distance[n], found)
