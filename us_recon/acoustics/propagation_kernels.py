"""The compiled passes of `us_recon.acoustics.propagation`; their equations stand there.

A product along a beam waits for itself at every step. Four beams in one loop keep the processor
busy meanwhile.
"""

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float64]


@compiled
def are_valid(reflection: Array) -> bool:
    """Return whether all numbers (n) lie between -1 and 1; one that is not a number does not."""
    invalid = 0
    one = reflection.dtype.type(1.0)
    for n in range(reflection.shape[0]):
        invalid += not (abs(reflection[n]) < one)
    return invalid == 0


@compiled
def primary(reflection: Array, echoes: Array) -> None:
    """Fill `echoes` (rays, n) with the primary echoes of `reflection` (rays, n)."""
    rays, count = reflection.shape
    fours = rays // 4 * 4
    one = reflection.dtype.type(1.0)
    for ray in range(0, fours, 4):
        a, b, c, d = one, one, one, one
        for n in range(count):
            p, q = reflection[ray, n], reflection[ray + 1, n]
            r, s = reflection[ray + 2, n], reflection[ray + 3, n]
            echoes[ray, n], echoes[ray + 1, n] = a * p, b * q
            echoes[ray + 2, n], echoes[ray + 3, n] = c * r, d * s
            a, b = a * (one - p * p), b * (one - q * q)
            c, d = c * (one - r * r), d * (one - s * s)
    for ray in range(fours, rays):
        a = one
        for n in range(count):
            p = reflection[ray, n]
            echoes[ray, n] = a * p
            a *= one - p * p


@compiled
def primary_backward(reflection: Array, pull: Array, slope: Array) -> None:
    """Fill `slope` with the gradient by reflection, given the gradient by the echoes.

    ``dL/dR_i = pull_i t_i - 2 R_i / (1 - R_i^2) sum_{n>i} pull_n e_n`` with ``t_i`` what passes.
    """
    rays, count = reflection.shape
    one = reflection.dtype.type(1.0)
    passed = np.empty(count, reflection.dtype)
    for ray in range(rays):
        passes = one
        for n in range(count):
            passed[n] = passes
            passes *= one - reflection[ray, n] * reflection[ray, n]
        behind = reflection.dtype.type(0.0)
        for n in range(count - 1, -1, -1):
            r, g = reflection[ray, n], pull[ray, n]
            slope[ray, n] = g * passed[n] - (r + r) / (one - r * r) * behind
            behind += g * r * passed[n]


@compiled
def physical(reflection: Array, echoes: Array) -> None:
    """Fill `echoes` (rays, n + 1) with the coupled echoes, physical convention."""
    rays, count = reflection.shape
    fours = rays // 4 * 4
    one, zero = reflection.dtype.type(1.0), reflection.dtype.type(0.0)
    for ray in range(0, fours, 4):
        a, b, c, d = zero, zero, zero, zero
        for k in range(4):
            echoes[ray + k, 0] = zero
        for n in range(count):
            p, q = reflection[ray, n], reflection[ray + 1, n]
            r, s = reflection[ray + 2, n], reflection[ray + 3, n]
            a, b = (a + p) / (one + a * p), (b + q) / (one + b * q)
            c, d = (c + r) / (one + c * r), (d + s) / (one + d * s)
            echoes[ray, n + 1], echoes[ray + 1, n + 1] = a, b
            echoes[ray + 2, n + 1], echoes[ray + 3, n + 1] = c, d
    for ray in range(fours, rays):
        a = zero
        echoes[ray, 0] = zero
        for n in range(count):
            p = reflection[ray, n]
            a = (a + p) / (one + a * p)
            echoes[ray, n + 1] = a


@compiled
def physical_backward(reflection: Array, echoes: Array, pull: Array, slope: Array) -> None:
    """Fill `slope`: ``dL/dR_i = sum_{n>i} pull_n (1 - rho_n^2) / (1 - R_i^2)``."""
    rays, count = reflection.shape
    one = reflection.dtype.type(1.0)
    for ray in range(rays):
        behind = reflection.dtype.type(0.0)
        for n in range(count - 1, -1, -1):
            r, rho = reflection[ray, n], echoes[ray, n + 1]
            behind += pull[ray, n + 1] * (one - rho) * (one + rho)
            slope[ray, n] = behind / (one - r * r)


@compiled
def published(reflection: Array, echoes: Array) -> None:
    """Fill `echoes` (rays, n + 1) with the coupled echoes, published convention."""
    rays, count = reflection.shape
    for ray in range(rays):
        # Rows (a, b) and (c, d) of the running product, in double precision near the poles.
        a, b, c, d = 1.0, 0.0, 0.0, 1.0
        echoes[ray, 0] = 0.0
        for n in range(count):
            r = float(reflection[ray, n])
            first, second = 1.0 - 2.0 * r * r, r
            a, b = a * first - b * r, a * second + b
            c, d = c * first - d * r, c * second + d
            echoes[ray, n + 1] = b / d


@compiled
def published_backward(reflection: Array, pull: Array, slope: Array) -> None:
    """Fill `slope` by the adjoint of the recursion, from the last interface to the first.

    The matrices before each interface are kept; ``A, B, C, D`` are the gradients by the product
    behind it.
    """
    rays, count = reflection.shape
    kept = np.empty((count + 1, 4))
    for ray in range(rays):
        a, b, c, d = 1.0, 0.0, 0.0, 1.0
        for n in range(count):
            kept[n] = a, b, c, d
            r = float(reflection[ray, n])
            first = 1.0 - 2.0 * r * r
            a, b = a * first - b * r, a * r + b
            c, d = c * first - d * r, c * r + d
        kept[count] = a, b, c, d
        A, B, C, D = 0.0, 0.0, 0.0, 0.0
        for n in range(count - 1, -1, -1):
            g = float(pull[ray, n + 1])
            if g != 0.0:  # at a pole only an echo that is not asked for may be infinite
                B += g / kept[n + 1, 3]
                D -= g * kept[n + 1, 1] / (kept[n + 1, 3] * kept[n + 1, 3])
            r = float(reflection[ray, n])
            a, b, c, d = kept[n, 0], kept[n, 1], kept[n, 2], kept[n, 3]
            slope[ray, n] = -A * (4.0 * r * a + b) + B * a - C * (4.0 * r * c + d) + D * c
            first = 1.0 - 2.0 * r * r
            A, B = A * first + B * r, B - A * r
            C, D = C * first + D * r, D - C * r
