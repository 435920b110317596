"""Trilinear interpolation of several channels at once, compiled; zero outside the volume."""

from typing import Any

import numpy as np
from jaxtyping import Float32
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]


def interpolate(
    data: Float32[np.ndarray, "i j k channels"], index: Float32[np.ndarray, "n 3"]
) -> Float32[np.ndarray, "n channels"]:
    """Return the channels at fractional voxel indices; voxels outside the array count as 0."""
    values = np.empty((len(index), data.shape[3]), dtype=np.float32)
    _interpolate(data, index, values, np.empty((0, 0, 3), dtype=np.float32))
    return values


def interpolate_with_slopes(
    data: Float32[np.ndarray, "i j k channels"], index: Float32[np.ndarray, "n 3"]
) -> tuple[Float32[np.ndarray, "n channels"], Float32[np.ndarray, "n channels 3"]]:
    """Return the channels at fractional voxel indices and their derivatives by index."""
    values = np.empty((len(index), data.shape[3]), dtype=np.float32)
    slopes = np.empty((len(index), data.shape[3], 3), dtype=np.float32)
    _interpolate(data, index, values, slopes)
    return values, slopes


def _compiled(function: Any) -> Any:
    return njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def _interpolate(data: Array, index: Array, values: Array, slopes: Array) -> None:
    height, width, depth, channels = data.shape
    flat = data.reshape(-1)
    with_slopes = slopes.shape[0] > 0
    one, minus_one = np.float32(1.0), np.float32(-1.0)
    step_k = channels
    step_j = depth * step_k
    step_i = width * step_j
    for n in range(index.shape[0]):
        x, y, z = index[n, 0], index[n, 1], index[n, 2]
        near = (x > minus_one) & (x < height) & (y > minus_one) & (y < width)
        if not (near & (z > minus_one) & (z < depth)):  # also where a coordinate is NaN
            values[n] = np.float32(0.0)
            if with_slopes:
                slopes[n] = np.float32(0.0)
            continue
        i, j, k = int(x + one) - 1, int(y + one) - 1, int(z + one) - 1
        s, t, u = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        # Voxels outside the array lend their weight to nobody: their address is any, their share 0.
        i0, i1 = np.float32(i >= 0), np.float32(i + 1 < height)
        j0, j1 = np.float32(j >= 0), np.float32(j + 1 < width)
        k0, k1 = np.float32(k >= 0), np.float32(k + 1 < depth)
        at_i, next_i = max(i, 0) * step_i, min(i + 1, height - 1) * step_i
        at_j, next_j = max(j, 0) * step_j, min(j + 1, width - 1) * step_j
        at_k, next_k = max(k, 0) * step_k, min(k + 1, depth - 1) * step_k
        w0, w1 = (one - u) * k0, u * k1
        for c in range(channels):
            p000, p001 = flat[at_i + at_j + at_k + c], flat[at_i + at_j + next_k + c]
            p010, p011 = flat[at_i + next_j + at_k + c], flat[at_i + next_j + next_k + c]
            p100, p101 = flat[next_i + at_j + at_k + c], flat[next_i + at_j + next_k + c]
            p110, p111 = flat[next_i + next_j + at_k + c], flat[next_i + next_j + next_k + c]
            q00, q01 = (w0 * p000 + w1 * p001) * j0, (w0 * p010 + w1 * p011) * j1
            q10, q11 = (w0 * p100 + w1 * p101) * j0, (w0 * p110 + w1 * p111) * j1
            r0, r1 = ((one - t) * q00 + t * q01) * i0, ((one - t) * q10 + t * q11) * i1
            values[n, c] = (one - s) * r0 + s * r1
            if with_slopes:
                slopes[n, c, 0] = r1 - r0
                slopes[n, c, 1] = (one - s) * i0 * (q01 - q00) + s * i1 * (q11 - q10)
                d00, d01 = (k1 * p001 - k0 * p000) * j0, (k1 * p011 - k0 * p010) * j1
                d10, d11 = (k1 * p101 - k0 * p100) * j0, (k1 * p111 - k0 * p110) * j1
                e0, e1 = (one - t) * d00 + t * d01, (one - t) * d10 + t * d11
                slopes[n, c, 2] = (one - s) * i0 * e0 + s * i1 * e1
