"""Compiled loops over a feature lattice: trilinear look-up and lazy Adam."""

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from us_recon.occupancy.field.lattice import CHANNELS, VERTICES
from us_recon.occupancy.field.loops import compiled_loop

_ONE = np.float32(1)


@compiled_loop
def vertex_number(
    i: int, j: int, k: int, low: Int64[np.ndarray, "3"], directory: Int32[np.ndarray, "x y z"]
) -> int:
    """Return the number of vertex (i, j, k) in storage, -1 where there is none."""
    x, y, z = (i >> 3) - low[0], (j >> 3) - low[1], (k >> 3) - low[2]
    if x < 0 or y < 0 or z < 0:
        return -1
    if x >= directory.shape[0] or y >= directory.shape[1] or z >= directory.shape[2]:
        return -1
    slot = directory[x, y, z]
    return slot * VERTICES + ((i & 7) << 6) + ((j & 7) << 3) + (k & 7) if slot >= 0 else -1


@compiled_loop
def look_up(
    points_mm: Float32[np.ndarray, "n 3"],
    spacing_mm: float,
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    values: Float32[np.ndarray, "vertices channels"],
    features: Float32[np.ndarray, "n f"],
    first: int,
    corners: Int32[np.ndarray, "n 8"],
    shares: Float32[np.ndarray, "n 8"],
) -> None:
    """Interpolate the features at points into columns `first` and up.

    `corners` gets the numbers of the eight vertices around each point, -1 where there is none, and
    `shares` their weights, for `adam`.
    """
    per_mm = np.float32(1.0 / spacing_mm)
    for n in range(points_mm.shape[0]):
        x, y, z = points_mm[n, 0] * per_mm, points_mm[n, 1] * per_mm, points_mm[n, 2] * per_mm
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        u, v, w = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        # Most cells lie within one block: one look at the directory serves all corners.
        within = (i & 7) < 7 and (j & 7) < 7 and (k & 7) < 7
        base = vertex_number(i, j, k, low, directory) if within else -1
        for channel in range(CHANNELS):
            features[n, first + channel] = 0.0
        for c in range(8):
            a, b, d = c >> 2, (c >> 1) & 1, c & 1
            share = (u if a else _ONE - u) * (v if b else _ONE - v) * (w if d else _ONE - w)
            if within:
                vertex = base + (a << 6) + (b << 3) + d if base >= 0 else -1
            else:
                vertex = vertex_number(i + a, j + b, k + d, low, directory)
            corners[n, c] = vertex
            shares[n, c] = share
            if vertex >= 0:
                for channel in range(CHANNELS):
                    features[n, first + channel] += share * values[vertex, channel]


@compiled_loop
def adam(
    corners: Int32[np.ndarray, "n 8"],
    shares: Float32[np.ndarray, "n 8"],
    d_features: Float32[np.ndarray, "n f"],
    first: int,
    values: Float32[np.ndarray, "vertices channels"],
    mean: Float32[np.ndarray, "vertices channels"],
    square: Float32[np.ndarray, "vertices channels"],
    gradient: Float32[np.ndarray, "vertices channels"],
    marks: UInt8[np.ndarray, " vertices"],
    rate: float,
    beta1: float,
    beta2: float,
    step: int,
) -> None:
    """Take one step of Adam (Kingma and Ba 2015) on the vertices around the points alone.

    All others rest with their moments, as with PyTorch's SparseAdam: the work follows the points,
    not the size of the map.
    """
    touched = np.empty(corners.size, np.int32)
    count = 0
    for n in range(corners.shape[0]):
        for c in range(8):
            vertex = corners[n, c]
            if vertex < 0:
                continue
            if marks[vertex] == 0:
                marks[vertex] = 1
                touched[count] = vertex
                count += 1
            for channel in range(CHANNELS):
                gradient[vertex, channel] += shares[n, c] * d_features[n, first + channel]
    unbias = np.sqrt(1.0 - beta2**step)
    pace, small = np.float32(rate * unbias / (1.0 - beta1**step)), np.float32(1e-8)
    new1, new2 = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    for t in range(count):
        vertex = touched[t]
        marks[vertex] = 0
        for channel in range(CHANNELS):
            g = gradient[vertex, channel]
            gradient[vertex, channel] = 0.0
            m = mean[vertex, channel] + new1 * (g - mean[vertex, channel])
            s = square[vertex, channel] + new2 * (g * g - square[vertex, channel])
            mean[vertex, channel], square[vertex, channel] = m, s
            values[vertex, channel] -= pace * m / (np.sqrt(s) + small)
