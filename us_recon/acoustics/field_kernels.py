"""The compiled passes of `us_recon.acoustics.fields`; what they compute stands there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from us_recon.acoustics.vectors import WIDTH, mix, slopes
from us_recon.compiled import compiled

Array = NDArray[np.float64]
Number = Any  # float32 or float64, as the arrays are


FIELDS = 7


@compiled
def _border(x: float, last: float, one: float) -> tuple[Number, Number]:
    """Return how much of a change of a position counts along an axis, and the fading's slope.

    On the border itself the slopes of both sides are halved.
    """
    zero, half = one - one, one / (one + one)
    if x < zero:
        return zero, one if x > -one else zero
    if x == zero:
        return half, half
    if x == last:
        return half, -half
    if x > last:
        return zero, -one if x < last + one else zero
    return one, zero


@compiled
def _cell(x: float, last: float, one: float) -> tuple[int, Number, Number]:
    """Return the lower voxel along an axis, the share of the upper one and the fading."""
    zero = one - one
    held = min(max(x, zero), last)
    lower = min(int(held), int(last) - 1)
    # An index is exact in single precision, and does not widen the kind of number.
    return lower, held - np.float32(lower), max(one - abs(x - held), zero)


@compiled
def at(A: Array, row: int, x: float, y: float) -> float:
    """Return one coordinate of a point of the image plane."""
    return A[row, 0] * x + A[row, 1] * y + A[row, 3]


@compiled
def _last(voxels: Array, plane: Array) -> tuple[float, float, float]:
    """Return the last voxel along each axis, in the type of the positions."""
    number = plane.dtype.type
    return number(voxels.shape[0] - 1), number(voxels.shape[1] - 1), number(voxels.shape[2] - 1)


@compiled
def beam_fields(voxels: Array, points: Array, A: Array, line: Array) -> None:
    """Fill `line` (samples, 8) with the fields at a beam's `points` (samples, 2).

    The first field does not fade.
    """
    one = points.dtype.type(1.0)
    last_i, last_j, last_k = _last(voxels, points)
    step_j = voxels.shape[2] * WIDTH
    step_i = voxels.shape[1] * step_j
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        i, s, fade_i = _cell(at(A, 0, x, y), last_i, one)
        j, t, fade_j = _cell(at(A, 1, x, y), last_j, one)
        k, u, fade_k = _cell(at(A, 2, x, y), last_k, one)
        first, fading = i * step_i + j * step_j + k * WIDTH, fade_i * fade_j * fade_k
        mix(voxels, first, step_i, step_j, s, t, u, fading, line, n * WIDTH)


@compiled
def beam_slope(voxels: Array, points: Array, A: Array, pull: Array, total: Array) -> None:
    """Fill `total` (3, 3) with ``sum slope x (x, y, 1)`` over a beam's samples.

    The slope is the gradient by voxel position, given the gradient `pull` (samples, 8) by the
    fields.
    """
    one, zero = points.dtype.type(1.0), points.dtype.type(0.0)
    half = one / (one + one)
    last_i, last_j, last_k = _last(voxels, points)
    step_j = voxels.shape[2] * WIDTH
    step_i = voxels.shape[1] * step_j
    total[:] = 0.0
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        at_i, at_j, at_k = at(A, 0, x, y), at(A, 1, x, y), at(A, 2, x, y)
        i, s, fade_i = _cell(at_i, last_i, one)
        j, t, fade_j = _cell(at_j, last_j, one)
        k, u, fade_k = _cell(at_k, last_k, one)
        first, fading = i * step_i + j * step_j + k * WIDTH, fade_i * fade_j * fade_k
        here = n * WIDTH
        faded, by_i, by_j, by_k = slopes(
            voxels, first, step_i, step_j, s, t, u, fading, pull, here
        )  # fmt: skip
        # On a voxel's centre the slopes of both sides count alike, as differences see it.
        if s == zero and i > 0:
            before = first - step_i
            by_i += slopes(voxels, before, step_i, step_j, one, t, u, fading, pull, here)[1]
            by_i *= half
        if t == zero and j > 0:
            before = first - step_j
            by_j += slopes(voxels, before, step_i, step_j, s, one, u, fading, pull, here)[2]
            by_j *= half
        if u == zero and k > 0:
            before = first - WIDTH
            by_k += slopes(voxels, before, step_i, step_j, s, t, one, fading, pull, here)[3]
            by_k *= half
        inside = zero < at_i < last_i and zero < at_j < last_j and zero < at_k < last_k
        if not inside:  # the position is held, and only the fading moves
            moves_i, slope_i = _border(at_i, last_i, one)
            moves_j, slope_j = _border(at_j, last_j, one)
            moves_k, slope_k = _border(at_k, last_k, one)
            by_i = by_i * moves_i + faded * slope_i * fade_j * fade_k
            by_j = by_j * moves_j + faded * fade_i * slope_j * fade_k
            by_k = by_k * moves_k + faded * fade_i * fade_j * slope_k
        add_outer(total, by_i, by_j, by_k, x, y)


@compiled
def add_outer(total: Array, by_i: float, by_j: float, by_k: float, x: float, y: float) -> None:
    """Add ``slope x (x, y, 1)`` to a 3x3 sum."""
    total[0, 0] += by_i * x
    total[0, 1] += by_i * y
    total[0, 2] += by_i
    total[1, 0] += by_j * x
    total[1, 1] += by_j * y
    total[1, 2] += by_j
    total[2, 0] += by_k * x
    total[2, 1] += by_k * y
    total[2, 2] += by_k


@compiled
def look_up(voxels: Array, plane: Array, affine: Array, values: Array, low: int, high: int) -> None:
    """Fill `values` (fields, poses, beams, samples) for the beams `low` to `high` of all poses."""
    beams, samples = plane.shape[0], plane.shape[1]
    line = np.empty((samples, WIDTH), plane.dtype)
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // beams, beam_of_all % beams
        beam_fields(voxels, plane[beam], affine[pose], line)
        for c in range(FIELDS):
            for n in range(samples):
                values[c, pose, beam, n] = line[n, c]


@compiled
def look_up_backward(
    voxels: Array, plane: Array, affine: Array, pull: Array, by_beam: Array, low: int, high: int
) -> None:
    """Fill `by_beam` (poses, beams, 3, 3), the slopes of `beam_slope`.

    Given is the gradient `pull` (poses, beams, samples, 8) by the values.
    """
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // plane.shape[0], beam_of_all % plane.shape[0]
        beam_slope(voxels, plane[beam], affine[pose], pull[pose, beam], by_beam[pose, beam])


@compiled
def spread(by_voxel: Array, plane: Array, affine: Array, pull: Array) -> None:
    """Add to `by_voxel` (i, j, k, 8), the gradient by the voxels; `pull` as above."""
    one = plane.dtype.type(1.0)
    last_i, last_j, last_k = _last(by_voxel, plane)
    for pose in range(affine.shape[0]):
        A = affine[pose]
        for beam in range(plane.shape[0]):
            for n in range(plane.shape[1]):
                x, y = plane[beam, n, 0], plane[beam, n, 1]
                i, s, fade_i = _cell(at(A, 0, x, y), last_i, one)
                j, t, fade_j = _cell(at(A, 1, x, y), last_j, one)
                k, u, fade_k = _cell(at(A, 2, x, y), last_k, one)
                fading = fade_i * fade_j * fade_k
                for corner in range(8):
                    di, dj, dk = corner >> 2 & 1, corner >> 1 & 1, corner & 1
                    weight = (
                        (s if di else one - s) * (t if dj else one - t) * (u if dk else one - u)
                    )
                    for c in range(FIELDS):
                        g = pull[pose, beam, n, c]
                        share = weight if c == 0 else weight * fading
                        by_voxel[i + di, j + dj, k + dk, c] += g * share
