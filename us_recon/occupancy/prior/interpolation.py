"""Distances of one member of a population between voxels, with all gradients."""

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.compiled import compiled


def _interpolate(
    scaled: Float64[np.ndarray, "n 3"],
    fields: Float32[np.ndarray, "i j k fields"],
    mix: Float64[np.ndarray, " fields"],
    spacing_mm: float,
    value: Float64[np.ndarray, " n"],
    gradient: Float64[np.ndarray, "n 3"],
    modes: Float64[np.ndarray, "n modes"],
) -> None:
    """Fill `value`, `gradient` and `modes` at points in units of voxels (trilinear).

    Outside of the grid, how far outside is added to the value at the border.
    """
    shape = np.array(fields.shape)
    low, part, beyond = np.empty(3, np.int64), np.empty(3), np.empty(3)
    for n in range(len(scaled)):
        far = 0.0
        for axis in range(3):
            held = min(max(scaled[n, axis], 0.0), shape[axis] - 1.0)
            low[axis] = max(min(int(held), shape[axis] - 2), 0)
            part[axis] = held - low[axis]
            beyond[axis] = (scaled[n, axis] - held) * spacing_mm
            far += beyond[axis] ** 2
        far = np.sqrt(far)
        value[n] = far
        gradient[n] = 0.0
        modes[n] = 0.0
        for corner in range(8):
            a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
            x = min(low[0] + a, shape[0] - 1)
            y = min(low[1] + b, shape[1] - 1)
            z = min(low[2] + c, shape[2] - 1)
            u = part[0] if a else 1.0 - part[0]
            v = part[1] if b else 1.0 - part[1]
            w = part[2] if c else 1.0 - part[2]
            share = u * v * w
            member = 0.0
            for field in range(len(mix)):
                here = fields[x, y, z, field]
                member += mix[field] * here
                if field > 0:
                    modes[n, field - 1] += share * here
            value[n] += share * member
            gradient[n, 0] += (2 * a - 1) * v * w * member / spacing_mm
            gradient[n, 1] += (2 * b - 1) * u * w * member / spacing_mm
            gradient[n, 2] += (2 * c - 1) * u * v * member / spacing_mm
        for axis in range(3):
            if beyond[axis] != 0.0:
                gradient[n, axis] = beyond[axis] / far


interpolate = compiled(_interpolate)
