"""The compiled passes of `us_recon.acoustics.echoes`: beam by beam, so that all stays in cache.

What they compute stands there, and the equations of the coupled system in
`us_recon.acoustics.propagation`.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from us_recon.acoustics.exponential import exponential
from us_recon.acoustics.field_kernels import beam_fields, beam_slope
from us_recon.acoustics.propagation_kernels import (
    physical_backward,
    physical_stepwise,
    published,
    published_backward,
)
from us_recon.acoustics.vectors import WIDTH
from us_recon.compiled import compiled

Array = NDArray[np.float64]

PRIMARY, PHYSICAL, PUBLISHED = 0, 1, 2
NUMBERS = 4
"""Of a device: levels of edges and of scatter, neper per step and unit of attenuation, and
1 / slope^2 of facets."""
TINY = 1e-12
DARKEST = 30.0
"""Exponent of the faintest echo, -260 dB: smaller numbers are denormal, and slow."""
Z, ATTENUATION, SCATTER, INSIDE, STEEPEST = 0, 1, 2, 3, 4  # fields


@compiled
def _rows(found: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    # An array that is unpacked loses that its rows are contiguous.
    return found[0], found[1], found[2], found[3], found[4], found[5]


@partial(compiled, fastmath={"contract"})
def _beam_losses(line: Array, direction: Array, numbers: Array, mode: int, found: Array) -> None:
    """Fill `found` (6, samples) with what both ways through a beam need.

    Reflection, facets' share, amplitude left by attenuation, and by attenuation and interfaces,
    the coupled echo, and 1 / (Z1 + Z0).
    """
    samples = line.shape[0]
    number = line.dtype.type
    one, tiny, darkest = number(1.0), number(TINY), number(DARKEST)
    R, facet, clear, passed, rho, share = _rows(found)
    for n in range(samples - 1):
        share[n] = one / (line[n + 1, Z] + line[n, Z])
        known = line[n, INSIDE] * line[n + 1, INSIDE]
        R[n] = known * (line[n + 1, Z] - line[n, Z]) * share[n]
    R[samples - 1], share[samples - 1] = number(0.0), number(0.0)
    lost, left = number(0.0), one
    for n in range(samples):
        clear[n], passed[n] = -lost, left
        lost += line[n, ATTENUATION] * numbers[2]
        left *= one - R[n] * R[n]
    for n in range(samples):
        clear[n] = exponential(clear[n])
    for n in range(samples):
        passed[n] *= clear[n]
    if mode == PRIMARY:
        for n in range(samples):
            x, y, z = line[n, STEEPEST], line[n, STEEPEST + 1], line[n, STEEPEST + 2]
            along = x * direction[0] + y * direction[1] + z * direction[2]
            steep = x * x + y * y + z * z + tiny
            facet[n] = -min((steep / (along * along + tiny) - one) * numbers[3], darkest)
        for n in range(samples):
            facet[n] = exponential(facet[n])
    elif mode == PHYSICAL:
        physical_stepwise(R[: samples - 1], rho)
    else:
        published(R[: samples - 1].reshape(1, samples - 1), rho.reshape(1, samples))


@compiled
def trace(
    voxels: Array, plane: Array, affine: Array, directions: Array, numbers: Array, mode: int,
    edges: Array, scatter: Array, passed: Array, inside: Array, low: int, high: int,
) -> None:  # fmt: skip
    """Fill all four (poses, beams, samples) for the beams `low` to `high` of all poses."""
    beams, samples = plane.shape[0], plane.shape[1]
    line = np.empty((samples, WIDTH), plane.dtype)
    found = np.empty((6, samples), plane.dtype)
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // beams, beam_of_all % beams
        beam_fields(voxels, plane[beam], affine[pose], line)
        _beam_losses(line, directions[pose, beam], numbers, mode, found)
        R, facet, clear, left, rho, _ = _rows(found)
        edge, diffuse = edges[pose, beam], scatter[pose, beam]
        if mode == PRIMARY:
            for n in range(samples):
                edge[n] = numbers[0] * left[n] * R[n] * facet[n]
        else:
            for n in range(samples):
                edge[n] = numbers[0] * clear[n] * rho[n]
        for n in range(samples):
            diffuse[n] = numbers[1] * left[n] * line[n, SCATTER]
            inside[pose, beam, n] = line[n, INSIDE]
        passed[pose, beam] = left


@partial(compiled, fastmath={"contract"})
def _facet_slope(
    fields: Array, direction: Array, per_slope: float, by_exponent: float, pull: Array,
    by_direction: Array,
) -> float:  # fmt: skip
    """Fill the gradients by the impedance's gradient, add those by direction, return the last.

    Given is the gradient by the exponent of the facets' share; the last is that by 1 / slope^2.
    """
    number = fields.dtype.type
    one, two, tiny = number(1.0), number(2.0), number(TINY)
    x, y, z = fields[STEEPEST], fields[STEEPEST + 1], fields[STEEPEST + 2]
    along = x * direction[0] + y * direction[1] + z * direction[2]
    per = one / (along * along + tiny)
    ratio = (x * x + y * y + z * z + tiny) * per
    if (ratio - one) * per_slope > number(DARKEST):  # held
        return number(0.0)
    steep = two * by_exponent * per_slope * per
    turn = -steep * ratio * along
    pull[STEEPEST] = steep * x + turn * direction[0]
    pull[STEEPEST + 1] = steep * y + turn * direction[1]
    pull[STEEPEST + 2] = steep * z + turn * direction[2]
    by_direction[0] += turn * x
    by_direction[1] += turn * y
    by_direction[2] += turn * z
    return by_exponent * (ratio - one)


@partial(compiled, fastmath={"contract"})
def _beam_backward(
    line: Array, direction: Array, numbers: Array, mode: int, found: Array, pull_edges: Array,
    pull_scatter: Array, pull_passed: Array, pull_inside: Array, pull: Array, by_direction: Array,
    by_number: Array,
) -> None:  # fmt: skip
    """Fill the gradients by fields (samples, 8), direction and numbers, from a beam's end on."""
    samples = line.shape[0]
    number = line.dtype.type
    one, two, zero = number(1.0), number(2.0), number(0.0)
    R, facet, clear, passed, rho, share = _rows(found)
    by_direction[:], by_number[:] = 0.0, 0.0
    pull[:] = zero
    by_R = np.zeros((1, samples - 1), line.dtype)
    if mode != PRIMARY:
        by_rho = (numbers[0] * pull_edges * clear).reshape(1, samples)
        inner = R[: samples - 1].reshape(1, samples - 1)
        if mode == PHYSICAL:
            physical_backward(inner, rho.reshape(1, samples), by_rho, by_R)
        else:
            published_backward(inner, by_rho, by_R)
    behind, behind_clear = zero, zero  # what the losses up to here take from all that lies behind
    for n in range(samples - 1, -1, -1):
        g, h = pull_edges[n], pull_scatter[n]
        lost = -(behind + behind_clear)
        pull[n, ATTENUATION] = lost * numbers[2]
        pull[n, SCATTER] = h * numbers[1] * passed[n]
        by_number[1] += h * passed[n] * line[n, SCATTER]
        by_number[2] += lost * line[n, ATTENUATION]
        by_passed = h * numbers[1] * line[n, SCATTER]
        if pull_passed.size > 0:
            by_passed += pull_passed[n]
        if n < samples - 1:
            slope = by_R[0, n] - behind * two * R[n] / (one - R[n] * R[n])
            if mode == PRIMARY:
                through = g * numbers[0] * passed[n]
                slope += through * facet[n]
                by_passed += g * numbers[0] * R[n] * facet[n]
                by_number[0] += g * passed[n] * R[n] * facet[n]
                by_facet = -through * R[n] * facet[n]
                by_number[3] += _facet_slope(
                    line[n], direction, numbers[3], by_facet, pull[n], by_direction
                )
            before, after = line[n, INSIDE], line[n + 1, INSIDE]
            change = (line[n + 1, Z] - line[n, Z]) * share[n] * slope
            turned = two * before * after * share[n] * share[n] * slope
            pull[n, Z] -= turned * line[n + 1, Z]
            pull[n + 1, Z] += turned * line[n, Z]
            pull[n, INSIDE] += after * change
            pull[n + 1, INSIDE] += before * change
        if mode != PRIMARY:
            by_number[0] += g * clear[n] * rho[n]
            behind_clear += g * numbers[0] * rho[n] * clear[n]
        behind += by_passed * passed[n]
    if pull_inside.size > 0:
        for n in range(samples):
            pull[n, INSIDE] += pull_inside[n]


@compiled
def trace_backward(
    voxels: Array, plane: Array, affine: Array, directions: Array, numbers: Array, mode: int,
    pull_edges: Array, pull_scatter: Array, pull_passed: Array, pull_inside: Array,
    by_affine: Array, by_direction: Array, by_number: Array, by_field: Array, low: int, high: int,
) -> None:  # fmt: skip
    """Fill the gradients of each beam, given those by what `trace` fills.

    Those by affine (poses, beams, 3, 3) as `beam_slope` gives them, by direction (poses, beams, 3),
    by numbers (poses, beams, 4) and by fields (poses, beams, samples, 8); the last, and gradients
    by passed and inside, may be arrays of size 0.
    """
    beams, samples = plane.shape[0], plane.shape[1]
    line, pull = (np.empty((samples, WIDTH), plane.dtype), np.empty((samples, WIDTH), plane.dtype))
    found = np.empty((6, samples), plane.dtype)
    none = np.empty(0, plane.dtype)
    for beam_of_all in range(low, high):
        pose, beam = beam_of_all // beams, beam_of_all % beams
        A, points, direction = affine[pose], plane[beam], directions[pose, beam]
        beam_fields(voxels, points, A, line)
        _beam_losses(line, direction, numbers, mode, found)
        by_passed = pull_passed[pose, beam] if pull_passed.size > 0 else none
        by_inside = pull_inside[pose, beam] if pull_inside.size > 0 else none
        _beam_backward(
            line, direction, numbers, mode, found, pull_edges[pose, beam],
            pull_scatter[pose, beam], by_passed, by_inside, pull, by_direction[pose, beam],
            by_number[pose, beam],
        )  # fmt: skip
        if by_field.size > 0:
            by_field[pose, beam] = pull
        beam_slope(voxels, points, A, pull, by_affine[pose, beam])
