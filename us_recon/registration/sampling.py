"""Trilinear interpolation of channels at moved points, compiled; zero outside the volume."""

from functools import partial

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float32]


def interpolate(
    data: Float32[np.ndarray, "i j k channels"],
    points: Float32[np.ndarray, "n 3"],
    T_index_points: Float64[np.ndarray, "4 4"],
) -> Float32[np.ndarray, "channels n"]:
    """Return the channels at points.

    Args:
        data: Channels as the last axis. Voxels outside the array count as 0.
        points: Points in any frame; where one is NaN, all is 0.
        T_index_points: Affine from that frame to voxel indices.
    """
    values = np.empty((data.shape[-1], len(points)), dtype=np.float32)
    matrix = np.ascontiguousarray(T_index_points[:3], dtype=np.float32)
    flat = np.ascontiguousarray(data).reshape(-1)
    _interpolate(flat, np.array(data.shape), np.ascontiguousarray(points), matrix, values)
    return values


@partial(compiled, fastmath={"contract"})
def _interpolate(
    data: Array, shape: NDArray[np.int64], points: Array, matrix: Array, values: Array,
) -> None:  # fmt: skip
    high_i, high_j, high_k = shape[0] - 1, shape[1] - 1, shape[2] - 1
    channels = shape[3]
    step_j = shape[2] * channels
    step_i = shape[1] * step_j
    one = np.float32(1.0)
    for n in range(points.shape[0]):
        p, q, r = points[n, 0], points[n, 1], points[n, 2]
        x = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
        y = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
        z = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
        near = (x > -one) & (x <= high_i + one) & (y > -one) & (y <= high_j + one)
        if not (near & (z > -one) & (z <= high_k + one)):  # also where a coordinate is NaN
            for c in range(channels):
                values[c, n] = 0.0
            continue
        i, j, k = int(x + one) - 1, int(y + one) - 1, int(z + one) - 1
        s, t, u = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        # A voxel outside the array gets share 0, whatever is read in its place.
        i0, i1 = np.float32(i >= 0), np.float32(i < high_i)
        j0, j1 = np.float32(j >= 0), np.float32(j < high_j)
        k0, k1 = np.float32(k >= 0), np.float32(k < high_k)
        first, last = max(i, 0) * step_i, min(i + 1, high_i) * step_i
        left, right = max(j, 0) * step_j, min(j + 1, high_j) * step_j
        up, down = max(k, 0) * channels, min(k + 1, high_k) * channels
        w0, w1, v0, v1 = (one - u) * k0, u * k1, (one - t) * j0, t * j1
        for c in range(channels):
            a0, a1 = data[first + left + up + c], data[first + left + down + c]
            b0, b1 = data[first + right + up + c], data[first + right + down + c]
            c0, c1 = data[last + left + up + c], data[last + left + down + c]
            d0, d1 = data[last + right + up + c], data[last + right + down + c]
            a, b = w0 * a0 + w1 * a1, w0 * b0 + w1 * b1
            e, f = w0 * c0 + w1 * c1, w0 * d0 + w1 * d1
            low, high = (v0 * a + v1 * b) * i0, (v0 * e + v1 * f) * i1
            values[c, n] = (one - s) * low + s * high
