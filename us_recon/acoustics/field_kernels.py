"""The compiled passes of `us_recon.acoustics.fields`; what they compute stands there."""

import math

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float64]


FIELDS = 7


@compiled
def _place(x: float, last: float, one: float) -> tuple[int, float, float, float, float]:
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
    lower = math.floor(x)
    return int(lower), x - lower, one, one, zero


@compiled
def _at(A: Array, row: int, x: float, y: float) -> float:
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
            i, s, fade_i, _, _ = _place(_at(A, 0, x, y), last_i, one)
            j, t, fade_j, _, _ = _place(_at(A, 1, x, y), last_j, one)
            k, u, fade_k, _, _ = _place(_at(A, 2, x, y), last_k, one)
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
            i, s, fade_i, moves_i, slope_i = _place(_at(A, 0, x, y), last_i, one)
            j, t, fade_j, moves_j, slope_j = _place(_at(A, 1, x, y), last_j, one)
            k, u, fade_k, moves_k, slope_k = _place(_at(A, 2, x, y), last_k, one)
            fading = fade_i * fade_j * fade_k
            by_i, by_j, by_k, faded = zero, zero, zero, zero
            for c in range(FIELDS):
                a0, a1 = voxels[i, j, k, c], voxels[i, j, k + 1, c]
                b0, b1 = voxels[i, j + 1, k, c], voxels[i, j + 1, k + 1, c]
                c0, c1 = voxels[i + 1, j, k, c], voxels[i + 1, j, k + 1, c]
                d0, d1 = voxels[i + 1, j + 1, k, c], voxels[i + 1, j + 1, k + 1, c]
                a, b = a0 + u * (a1 - a0), b0 + u * (b1 - b0)
                e, f = c0 + u * (c1 - c0), d0 + u * (d1 - d0)
                before, behind = a + t * (b - a), e + t * (f - e)
                g = pull[c, pose, beam, n]
                if c > 0:
                    faded += g * (before + s * (behind - before))
                    g *= fading
                by_i += g * (behind - before)
                by_j += g * ((one - s) * (b - a) + s * (f - e))
                near = (one - t) * (a1 - a0) + t * (b1 - b0)
                far = (one - t) * (c1 - c0) + t * (d1 - d0)
                by_k += g * ((one - s) * near + s * far)
            # On a voxel's centre the slopes of both sides count alike, as differences see it.
            if s == zero and i > 0:
                g = _pulled(voxels, pull, pose, beam, n, fading, i - 1, j, k, one, t, u)
                g -= _pulled(voxels, pull, pose, beam, n, fading, i - 1, j, k, zero, t, u)
                by_i = (by_i + g) / (one + one)
            if t == zero and j > 0:
                g = _pulled(voxels, pull, pose, beam, n, fading, i, j - 1, k, s, one, u)
                g -= _pulled(voxels, pull, pose, beam, n, fading, i, j - 1, k, s, zero, u)
                by_j = (by_j + g) / (one + one)
            if u == zero and k > 0:
                g = _pulled(voxels, pull, pose, beam, n, fading, i, j, k - 1, s, t, one)
                g -= _pulled(voxels, pull, pose, beam, n, fading, i, j, k - 1, s, t, zero)
                by_k = (by_k + g) / (one + one)
            # Beyond the border the position is held, and only the fading moves.
            by_i = by_i * moves_i + faded * slope_i * fade_j * fade_k
            by_j = by_j * moves_j + faded * fade_i * slope_j * fade_k
            by_k = by_k * moves_k + faded * fade_i * fade_j * slope_k
            add_outer(total, by_i, by_j, by_k, x, y)


@compiled
def _pulled(
    voxels: Array, pull: Array, pose: int, beam: int, n: int, fading: float, i: int, j: int, k: int,
    s: float, t: float, u: float,
) -> float:  # fmt: skip
    """Return the values at a place, weighted by the gradients by them."""
    one = voxels.dtype.type(1.0)
    total = one - one
    for c in range(FIELDS):
        g = pull[c, pose, beam, n] if c == 0 else pull[c, pose, beam, n] * fading
        for corner in range(8):
            di, dj, dk = corner >> 2 & 1, corner >> 1 & 1, corner & 1
            weight = (s if di else one - s) * (t if dj else one - t) * (u if dk else one - u)
            total += g * weight * voxels[i + di, j + dj, k + dk, c]
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
                i, s, fade_i, _, _ = _place(_at(A, 0, x, y), last_i, one)
                j, t, fade_j, _, _ = _place(_at(A, 1, x, y), last_j, one)
                k, u, fade_k, _, _ = _place(_at(A, 2, x, y), last_k, one)
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
