"""The compiled passes of `us_recon.acoustics.fields`; what they compute stands there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float64]
Number = Any  # float32 or float64, as the arrays are


FIELDS = 7


@compiled
def _place(x: float, last: float, one: float) -> tuple[int, Number, Number, Number, Number]:
    """Return where a position lies along an axis.

    The lower voxel, the share of the upper one, the fading, how much of a change of the position
    counts, and the slope of the fading. On the border itself the slopes of both sides are halved.
    """
    zero, half = one - one, one / (one + one)
    if x <= zero:
        moves, fades = (half, half) if x == zero else (zero, one)
        fades = fades if x > -one else zero
        return 0, zero, max(one + x, zero), moves, fades
    if x >= last:
        moves, fades = (half, half) if x == last else (zero, one)
        return (
            int(last) - 1,
            one,
            max(one + last - x, zero),
            moves,
            (-fades if x < last + one else zero),
        )
    lower = int(x)
    return lower, x - np.float32(lower), one, one, zero


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
def look_up(voxels: Array, plane: Array, affine: Array, values: Array, low: int, high: int) -> None:
    """Fill `values` (fields, poses, beams, samples) for the beams `low` to `high` of all poses.

    The first field does not fade.
    """
    one = plane.dtype.type(1.0)
    last_i, last_j, last_k = _last(voxels, plane)
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // plane.shape[0], beam_of_all % plane.shape[0]
        A = affine[pose]
        for n in range(plane.shape[1]):
            x, y = plane[beam, n, 0], plane[beam, n, 1]
            i, s, fade_i = _cell(at(A, 0, x, y), last_i, one)
            j, t, fade_j = _cell(at(A, 1, x, y), last_j, one)
            k, u, fade_k = _cell(at(A, 2, x, y), last_k, one)
            fading = fade_i * fade_j * fade_k
            w0, w1, w2, w3 = (one - t) * (one - u), (one - t) * u, t * (one - u), t * u
            a0, a1, a2, a3 = (one - s) * w0, (one - s) * w1, (one - s) * w2, (one - s) * w3
            b0, b1, b2, b3 = s * w0, s * w1, s * w2, s * w3
            for c in range(FIELDS):
                before = (a0 * voxels[i, j, k, c] + a1 * voxels[i, j, k + 1, c]
                          + a2 * voxels[i, j + 1, k, c]
                          + a3 * voxels[i, j + 1, k + 1, c])  # fmt: skip
                behind = (b0 * voxels[i + 1, j, k, c] + b1 * voxels[i + 1, j, k + 1, c]
                          + b2 * voxels[i + 1, j + 1, k, c]
                          + b3 * voxels[i + 1, j + 1, k + 1, c])  # fmt: skip
                value = before + behind
                values[c, pose, beam, n] = value if c == 0 else value * fading


@compiled
def look_up_backward(
    voxels: Array, plane: Array, affine: Array, pull: Array, by_beam: Array, low: int, high: int
) -> None:
    """Fill `by_beam` (poses, beams, 3, 3): ``sum slope x (x, y, 1)`` over each beam's samples.

    The slope is the gradient by voxel position, given the gradient by the values.
    """
    one, zero = plane.dtype.type(1.0), plane.dtype.type(0.0)
    last_i, last_j, last_k = _last(voxels, plane)
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // plane.shape[0], beam_of_all % plane.shape[0]
        A = affine[pose]
        total = by_beam[pose, beam]
        for n in range(plane.shape[1]):
            x, y = plane[beam, n, 0], plane[beam, n, 1]
            i, s, fade_i, moves_i, slope_i = _place(at(A, 0, x, y), last_i, one)
            j, t, fade_j, moves_j, slope_j = _place(at(A, 1, x, y), last_j, one)
            k, u, fade_k, moves_k, slope_k = _place(at(A, 2, x, y), last_k, one)
            fading = fade_i * fade_j * fade_k
            # All fields count through their sum over the gradients by them, at each corner: the
            # first apart, since it does not fade.
            h0, m0 = _pulled(voxels, pull, pose, beam, n, i, j, k)
            h1, m1 = _pulled(voxels, pull, pose, beam, n, i, j, k + 1)
            h2, m2 = _pulled(voxels, pull, pose, beam, n, i, j + 1, k)
            h3, m3 = _pulled(voxels, pull, pose, beam, n, i, j + 1, k + 1)
            h4, m4 = _pulled(voxels, pull, pose, beam, n, i + 1, j, k)
            h5, m5 = _pulled(voxels, pull, pose, beam, n, i + 1, j, k + 1)
            h6, m6 = _pulled(voxels, pull, pose, beam, n, i + 1, j + 1, k)
            h7, m7 = _pulled(voxels, pull, pose, beam, n, i + 1, j + 1, k + 1)
            faded, _, _, _ = _trilinear(m0, m1, m2, m3, m4, m5, m6, m7, s, t, u)
            _, by_i, by_j, by_k = _trilinear(
                h0 + fading * m0, h1 + fading * m1, h2 + fading * m2, h3 + fading * m3,
                h4 + fading * m4, h5 + fading * m5, h6 + fading * m6, h7 + fading * m7, s, t, u,
            )  # fmt: skip
            # On a voxel's centre the slopes of both sides count alike, as differences see it.
            if s == zero and i > 0:
                before = _total(voxels, pull, pose, beam, n, fading, i - 1, j, k, zero, t, u)
                here = _total(voxels, pull, pose, beam, n, fading, i - 1, j, k, one, t, u)
                by_i = (by_i + here - before) / (one + one)
            if t == zero and j > 0:
                before = _total(voxels, pull, pose, beam, n, fading, i, j - 1, k, s, zero, u)
                here = _total(voxels, pull, pose, beam, n, fading, i, j - 1, k, s, one, u)
                by_j = (by_j + here - before) / (one + one)
            if u == zero and k > 0:
                before = _total(voxels, pull, pose, beam, n, fading, i, j, k - 1, s, t, zero)
                here = _total(voxels, pull, pose, beam, n, fading, i, j, k - 1, s, t, one)
                by_k = (by_k + here - before) / (one + one)
            # Beyond the border the position is held, and only the fading moves.
            by_i = by_i * moves_i + faded * slope_i * fade_j * fade_k
            by_j = by_j * moves_j + faded * fade_i * slope_j * fade_k
            by_k = by_k * moves_k + faded * fade_i * fade_j * slope_k
            add_outer(total, by_i, by_j, by_k, x, y)


@compiled
def _pulled(
    voxels: Array, pull: Array, pose: int, beam: int, n: int, i: int, j: int, k: int
) -> tuple[float, float]:
    """Return a voxel's first field and the sum of the others, times the gradients by them."""
    held = pull[0, pose, beam, n] * voxels[i, j, k, 0]
    others = pull[1, pose, beam, n] * voxels[i, j, k, 1]
    for c in range(2, FIELDS):
        others += pull[c, pose, beam, n] * voxels[i, j, k, c]
    return held, others


@compiled
def _trilinear(
    a0: float, a1: float, b0: float, b1: float, c0: float, c1: float, d0: float, d1: float,
    s: float, t: float, u: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Return the value between eight corners, and its slopes."""
    a, b = a0 + u * (a1 - a0), b0 + u * (b1 - b0)
    c, d = c0 + u * (c1 - c0), d0 + u * (d1 - d0)
    before, behind = a + t * (b - a), c + t * (d - c)
    near = (a1 - a0) + t * ((b1 - b0) - (a1 - a0))
    far = (c1 - c0) + t * ((d1 - d0) - (c1 - c0))
    by_t = (b - a) + s * ((d - c) - (b - a))
    return before + s * (behind - before), behind - before, by_t, near + s * (far - near)


@compiled
def _total(
    voxels: Array, pull: Array, pose: int, beam: int, n: int, fading: float, i: int, j: int, k: int,
    s: float, t: float, u: float,
) -> float:  # fmt: skip
    """Return the values at a place, times the gradients by them."""
    one = voxels.dtype.type(1.0)
    total = one - one
    for corner in range(8):
        di, dj, dk = corner >> 2 & 1, corner >> 1 & 1, corner & 1
        weight = (s if di else one - s) * (t if dj else one - t) * (u if dk else one - u)
        held, others = _pulled(voxels, pull, pose, beam, n, i + di, j + dj, k + dk)
        total += weight * (held + fading * others)
    return total


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
def spread(by_voxel: Array, plane: Array, affine: Array, pull: Array) -> None:
    """Add to `by_voxel` (i, j, k, fields), the gradient by the voxels."""
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
                        g = pull[c, pose, beam, n]
                        share = weight if c == 0 else weight * fading
                        by_voxel[i + di, j + dj, k + dk, c] += g * share
