"""The compiled passes of `us_recon.acoustics.propagation`; their equations stand there.

A product along a beam waits for itself at every step, so that eight beams run in one loop; all that
waits for nothing stands in loops of its own, of which the compiler makes vectors.
"""

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float64]


TOGETHER = 8
"""Beams whose products run side by side."""


@compiled
def are_valid(reflection: Array) -> bool:
    """Return whether all numbers (n) lie between -1 and 1; one that is not a number does not."""
    invalid = 0
    one = reflection.dtype.type(1.0)
    for n in range(reflection.shape[0]):
        invalid += not (abs(reflection[n]) < one)
    return invalid == 0


@compiled
def _multiply_up(factors: Array) -> None:
    """Replace the factors (8, n) of each row by the products of all up to them."""
    a, b, c, d = factors[0, 0], factors[1, 0], factors[2, 0], factors[3, 0]
    e, f, g, h = factors[4, 0], factors[5, 0], factors[6, 0], factors[7, 0]
    for n in range(1, factors.shape[1]):
        a, b, c, d = a * factors[0, n], b * factors[1, n], c * factors[2, n], d * factors[3, n]
        e, f, g, h = e * factors[4, n], f * factors[5, n], g * factors[6, n], h * factors[7, n]
        factors[0, n], factors[1, n], factors[2, n], factors[3, n] = a, b, c, d
        factors[4, n], factors[5, n], factors[6, n], factors[7, n] = e, f, g, h


@compiled
def primary(reflection: Array, echoes: Array) -> bool:
    """Fill `echoes` (rays, n) with the primary echoes; return whether all reflections are valid."""
    rays, count = reflection.shape
    one = reflection.dtype.type(1.0)
    passed = np.ones((TOGETHER, count + 1), reflection.dtype)
    valid = True
    for first in range(0, rays, TOGETHER):
        together = min(TOGETHER, rays - first)
        for k in range(together):
            R, passes = reflection[first + k], passed[k]
            invalid = 0
            for n in range(count):
                passes[n + 1] = one - R[n] * R[n]
                invalid += not (abs(R[n]) < one)
            passes[0], valid = one, valid and invalid == 0
        _multiply_up(passed)
        for k in range(together):
            R, passes, echo = reflection[first + k], passed[k], echoes[first + k]
            for n in range(count):
                echo[n] = R[n] * passes[n]
    return valid


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
def physical(reflection: Array, echoes: Array) -> bool:
    """Fill `echoes` (rays, n + 1), physical convention; return whether reflections are valid.

    ``(P - 1) / (P + 1)`` of ``P_n = prod (1 + R) / (1 - R)``, the impedance at a depth by that at
    the surface.
    """
    rays, count = reflection.shape
    one, zero = reflection.dtype.type(1.0), reflection.dtype.type(0.0)
    ratios = np.ones((TOGETHER, count + 1), reflection.dtype)
    valid = True
    for first in range(0, rays, TOGETHER):
        together = min(TOGETHER, rays - first)
        for k in range(together):
            R, ratio = reflection[first + k], ratios[k]
            invalid = 0
            for n in range(count):
                ratio[n + 1] = (one + R[n]) / (one - R[n])
                invalid += not (abs(R[n]) < one)
            ratio[0], valid = one, valid and invalid == 0
        _multiply_up(ratios)
        for k in range(together):
            ratio, echo = ratios[k], echoes[first + k]
            beyond = 0
            for n in range(count + 1):
                echo[n] = (ratio[n] - one) / (ratio[n] + one)
                beyond += not (zero < ratio[n] < np.inf)
            if beyond > 0:
                physical_stepwise(reflection[first + k], echo)
    return valid


@compiled
def physical_stepwise(reflection: Array, echoes: Array) -> None:
    """Fill the echoes of one ray step by step: no ratio can overflow, faint echoes keep digits."""
    a = reflection.dtype.type(0.0)
    one = reflection.dtype.type(1.0)
    echoes[0] = a
    for n in range(reflection.shape[0]):
        a = (a + reflection[n]) / (one + a * reflection[n])
        echoes[n + 1] = a


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
def published(reflection: Array, echoes: Array) -> bool:
    """Fill `echoes` (rays, n + 1), published convention; return whether reflections are valid."""
    rays, count = reflection.shape
    valid = True
    for ray in range(rays):
        # Rows (a, b) and (c, d) of the running product, in double precision near the poles.
        a, b, c, d = 1.0, 0.0, 0.0, 1.0
        valid &= are_valid(reflection[ray])
        echoes[ray, 0] = 0.0
        for n in range(count):
            r = float(reflection[ray, n])
            first, second = 1.0 - 2.0 * r * r, r
            a, b = a * first - b * r, a * second + b
            c, d = c * first - d * r, c * second + d
            echoes[ray, n + 1] = b / d
    return valid


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
