"""Fill the voxels of a freehand reconstruction that no image reached."""

from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter


def fill_holes(
    data: Float32[np.ndarray, "i j k"], covered: Bool[np.ndarray, "i j k"], length: int
) -> tuple[Float32[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
    """Fill each hole along the shortest line of voxels that has measured voxels at both ends.

    Lines run in the 13 directions of a voxel's 26 neighbours. Values are interpolated linearly
    along the line; lines of equal length are averaged (PLUS's "stick" filling).

    Args:
        data: Voxel values.
        covered: Voxels with a measured value.
        length: Longest line in voxels, both ends included, at least 3.

    Returns:
        The filled values and the voxels that were filled.
    """
    reach = length - 2
    near = maximum_filter(covered, size=2 * reach + 1)
    # A border as wide as the longest walk keeps every step inside the arrays.
    known, value = np.pad(covered, reach).ravel(), np.pad(data, reach).ravel()
    holes = np.flatnonzero(np.pad(near & ~covered, reach))
    strides = np.array(
        [(data.shape[1] + 2 * reach) * (data.shape[2] + 2 * reach), data.shape[2] + 2 * reach, 1]
    )

    shortest = np.full(holes.size, np.inf)
    total, lines = np.zeros(holes.size), np.zeros(holes.size)
    for direction in _half_of_the_26_neighbours():
        step = int(direction @ strides)
        ahead, value_ahead = _first_known(known, value, holes, step, length)
        behind, value_behind = _first_known(known, value, holes, -step, length)
        usable = ahead + behind + 1 <= length
        span = (ahead + behind) * np.linalg.norm(direction)
        between = (behind * value_ahead + ahead * value_behind) / (ahead + behind)
        better = usable & (span < shortest - 1e-9)
        equal = usable & ~better & (span <= shortest + 1e-9)
        shortest = np.where(better, span, shortest)
        total = np.where(better, between, total + np.where(equal, between, 0.0))
        lines = np.where(better, 1.0, lines + equal)

    found = lines > 0
    filled = np.zeros(known.size, dtype=bool)
    filled[holes[found]] = True
    value[holes[found]] = total[found] / lines[found]
    padded = tuple(extent + 2 * reach for extent in data.shape)
    inner = (slice(reach, -reach),) * 3
    return value.reshape(padded)[inner].copy(), filled.reshape(padded)[inner].copy()


def _half_of_the_26_neighbours() -> list[NDArray[np.int64]]:
    return [np.array(step) for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def _first_known(
    known: Bool[np.ndarray, " voxels"],
    value: Float32[np.ndarray, " voxels"],
    holes: Int[np.ndarray, " n"],
    step: int,
    length: int,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return how many steps lead to the first known voxel (`length` where none) and its value."""
    distance = np.full(holes.size, length)
    found = np.zeros(holes.size)
    walking = np.arange(holes.size)
    for steps in range(1, length - 1):
        here = holes[walking] + steps * step
        hit = known[here]
        distance[walking[hit]] = steps
        found[walking[hit]] = value[here[hit]]
        walking = walking[~hit]
    return distance, found
