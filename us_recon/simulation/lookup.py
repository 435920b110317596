"""Trilinear look-up of many fields at many points, compiled: the scanner's innermost loop."""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float32]


def look_up(
    fields: Float32[np.ndarray, "i j k fields"], index: Float32[np.ndarray, "n 3"]
) -> Float32[np.ndarray, "fields n"]:
    """Interpolate at voxel indices; beyond the grid the nearest value of its border holds."""
    found = np.empty((fields.shape[-1], len(index)), dtype=np.float32)
    flat = fields.reshape(-1, fields.shape[-1])
    _look_up(flat, np.array(fields.shape), np.ascontiguousarray(index), found)
    return found


@compiled
def _look_up(
    fields: Array, shape: NDArray[np.int64], index: Array, found: Array
) -> None:  # fmt: skip
    count = fields.shape[1]
    step_j = shape[2]
    step_i = shape[1] * step_j
    last = (np.float32(shape[0] - 1), np.float32(shape[1] - 1), np.float32(shape[2] - 1))
    zero, one = np.float32(0.0), np.float32(1.0)
    for n in range(index.shape[0]):
        x = min(max(index[n, 0], zero), last[0])
        y = min(max(index[n, 1], zero), last[1])
        z = min(max(index[n, 2], zero), last[2])
        i = min(int(x), shape[0] - 2)
        j = min(int(y), shape[1] - 2)
        k = min(int(z), shape[2] - 2)
        u, v, w = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        corner = i * step_i + j * step_j + k
        near, far = (one - v) * (one - w), (one - v) * w
        below, beyond = v * (one - w), v * w
        for c in range(count):
            first = (
                near * fields[corner, c]
                + far * fields[corner + 1, c]
                + below * fields[corner + step_j, c]
                + beyond * fields[corner + step_j + 1, c]
            )
            second = (
                near * fields[corner + step_i, c]
                + far * fields[corner + step_i + 1, c]
                + below * fields[corner + step_i + step_j, c]
                + beyond * fields[corner + step_i + step_j + 1, c]
            )
            found[c, n] = first + u * (second - first)
