"""Compiled loops of the similarity: channels sampled at a pose, patches fitted, sums taken.

A patch's samples are laid out one quantity after the other, so that every sum over them is a dot
product that the processor forms eight samples at a time. One set of loops is compiled for each
number of channels.

The derivatives are those of variable projection: with the fitted coefficients a, the fit moves with
position by ``f = sum_c a_c grad x_c``, and what new coefficients would make good is projected out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float32]
Wide = NDArray[np.float64]

_FASTMATH = {"contract", "reassoc", "nsz"}
_LANES = 8
_WEIGHT, _BRIGHTNESS, _CHANNELS = 0, 1, 2
"""The first quantities of a sample; after the channels come their derivatives by position."""
_AXES = 3


@dataclass(frozen=True)
class Kernels:
    """The loops for one number of channels."""

    score: Callable[..., None]
    linearise: Callable[..., tuple[float, float]]


@lru_cache
def kernels(channels: int) -> Kernels:  # noqa: PLR0915  (loops in a closure over constants)
    """Return the loops for a number of channels (the mask, the last one of the data, aside)."""
    C = channels
    ROW = C + 1
    SLOPES = _CHANNELS + C
    ALL = SLOPES + _AXES * C

    def sampled_(  # type: ignore[no-untyped-def]
        data, shape, points, u, valid, matrix, axes, rows, with_slopes
    ):  # fmt: skip
        """Interpolate trilinearly at every sample; outside the volume, the weight is 0."""
        high_i, high_j, high_k = shape[0] - 1, shape[1] - 1, shape[2] - 1
        step_j = shape[2] * ROW
        step_i = shape[1] * step_j
        for n in range(points.shape[0]):
            p, q, r = points[n, 0], points[n, 1], points[n, 2]
            xi = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
            yj = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
            zk = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
            inside = (xi >= 0) & (xi < high_i) & (yj >= 0) & (yj < high_j)
            if not (inside & (zk >= 0) & (zk < high_k)):
                rows[n, :] = 0.0
                continue
            i, j, k = int(xi), int(yj), int(zk)
            s, t, v = xi - np.float32(i), yj - np.float32(j), zk - np.float32(k)
            a = i * step_i + j * step_j + k * ROW
            b, c = a + step_j, a + step_i
            d = c + step_j
            for m in range(ROW):
                a0, a1 = data[a + m], data[a + ROW + m]
                b0, b1 = data[b + m], data[b + ROW + m]
                c0, c1 = data[c + m], data[c + ROW + m]
                d0, d1 = data[d + m], data[d + ROW + m]
                la, lb = a0 + v * (a1 - a0), b0 + v * (b1 - b0)
                lc, ld = c0 + v * (c1 - c0), d0 + v * (d1 - d0)
                low, high = la + t * (lb - la), lc + t * (ld - lc)
                value = low + s * (high - low)
                if m == C:
                    rows[n, _WEIGHT] = valid[n] * value
                    rows[n, _BRIGHTNESS] = u[n]
                    continue
                rows[n, _CHANNELS + m] = value
                if with_slopes:
                    by_i = high - low
                    by_j = (lb - la) + s * ((ld - lc) - (lb - la))
                    near = (a1 - a0) + t * ((b1 - b0) - (a1 - a0))
                    far = (c1 - c0) + t * ((d1 - d0) - (c1 - c0))
                    by_k = near + s * (far - near)
                    for o in range(_AXES):
                        rows[n, SLOPES + _AXES * m + o] = (
                            by_i * axes[0, o] + by_j * axes[1, o] + by_k * axes[2, o]
                        )

    sampled = compiled(sampled_, fastmath=_FASTMATH)

    def gathered_(rows, members, patch):  # type: ignore[no-untyped-def]
        """Lay out a patch's samples, one quantity after the other; return the sum of weights."""
        whole = np.float32(0.0)
        for o in range(members.shape[0]):
            n = members[o]
            whole += rows[n, _WEIGHT]
            for k in range(rows.shape[1]):
                patch[k, o] = rows[n, k]
        return whole

    gathered = compiled(gathered_, fastmath=_FASTMATH)

    def dot_(a, b):  # type: ignore[no-untyped-def]
        total = np.float32(0.0)
        for o in range(a.shape[0]):
            total += a[o] * b[o]
        return total

    dot = compiled(dot_, fastmath=_FASTMATH)

    def fit_(  # type: ignore[no-untyped-def]  # noqa: PLR0912
        patch, whole, ridge, weights, normal, coefficient
    ):  # fmt: skip
        """Fit a patch by its channels; return what is explained.

        Brightness and channels are then given from their means, `weights` sum to 1, and `normal` is
        the Cholesky factor of the damped normal matrix.
        """
        inverse = np.float32(1.0) / whole
        for o in range(patch.shape[1]):
            weights[o] = patch[_WEIGHT, o] * inverse
        for k in range(_BRIGHTNESS, SLOPES):
            mean = dot(weights, patch[k])
            for o in range(patch.shape[1]):
                patch[k, o] -= mean
        explained = np.float32(0.0)
        weighted = patch[_WEIGHT]  # no longer needed
        for c in range(C):
            for o in range(patch.shape[1]):
                weighted[o] = weights[o] * patch[_CHANNELS + c, o]
            for d in range(c + 1):
                rest = dot(weighted, patch[_CHANNELS + d])
                if c == d:
                    rest += ridge[c]
                for k in range(d):
                    rest -= normal[c, k] * normal[d, k]
                if c == d:
                    normal[c, c] = np.sqrt(max(rest, np.float32(1e-12)))
                else:
                    normal[c, d] = rest / normal[d, d]
            rest = dot(weighted, patch[_BRIGHTNESS])
            for k in range(c):
                rest -= normal[c, k] * coefficient[k]
            coefficient[c] = rest / normal[c, c]
            explained += coefficient[c] * coefficient[c]
        for c in range(C - 1, -1, -1):
            rest = coefficient[c]
            for k in range(c + 1, C):
                rest -= normal[k, c] * coefficient[k]
            coefficient[c] = rest / normal[c, c]
        return explained

    fit = compiled(fit_, fastmath=_FASTMATH)

    def score_(  # type: ignore[no-untyped-def]
        data, shape, points, u, valid, members, weight, variance, ridge, matrices, least_filling,
        explained, total,
    ):  # fmt: skip
        """Sum explained and total variance over the patches, at each of several poses."""
        rows, none = np.empty((points.shape[0], SLOPES), np.float32), np.empty((0, 3), np.float32)
        size = (members.shape[1] + _LANES - 1) // _LANES * _LANES
        patch, weights = np.zeros((SLOPES, size), np.float32), np.zeros(size, np.float32)
        coefficient, normal = np.empty(C, np.float32), np.empty((C, C), np.float32)
        count = np.float32(1.0 / members.shape[1])
        for pose in range(matrices.shape[0]):
            sampled(data, shape, points, u, valid, matrices[pose], none, rows, False)
            above, below = 0.0, 0.0
            for p in range(members.shape[0]):
                whole = gathered(rows, members[p], patch)
                gate = (whole * count - least_filling) / (1.0 - least_filling)
                if gate <= 0.0:
                    continue
                share = min(gate, 1.0) * weight[p]
                patch[_WEIGHT, members.shape[1] :] = 0.0
                above += share * fit(patch, whole, ridge, weights, normal, coefficient)
                below += share * variance[p]
            explained[pose], total[pose] = above, below

    score = compiled(score_, fastmath=_FASTMATH)

    def moving_(  # type: ignore[no-untyped-def]  # noqa: PLR0912
        patch, arms, weights, normal, coefficient, flow, force, moved, with_x, lever
    ):  # fmt: skip
        """Work out what a fit gains, and how it changes, as the patch moves.

        `arms` reach from the images' centre to the samples, `flow` takes f. `force` becomes half
        the gradient for a twist, `moved` half the Gauss-Newton matrix for a shift, `lever` the
        mean of `arms`.
        """
        rest = patch[_BRIGHTNESS]
        for o in range(patch.shape[1]):
            value = rest[o]
            for c in range(C):
                value -= coefficient[c] * patch[_CHANNELS + c, o]
            rest[o] = weights[o] * value
        for axis in range(_AXES):
            for o in range(patch.shape[1]):
                value = np.float32(0.0)
                for c in range(C):
                    value += coefficient[c] * patch[SLOPES + _AXES * c + axis, o]
                flow[axis, o] = value
        weighted = patch[_WEIGHT]
        for axis in range(_AXES):
            ahead, behind = (axis + 1) % _AXES, (axis + 2) % _AXES
            force[axis] = dot(rest, flow[axis])
            turning = np.float32(0.0)
            for o in range(patch.shape[1]):
                weighted[o] = weights[o] * flow[axis, o]
                turning += rest[o] * (
                    arms[ahead, o] * flow[behind, o] - arms[behind, o] * flow[ahead, o]
                )
            force[_AXES + axis] = turning
            lever[axis] = dot(weights, arms[axis])
            for other in range(axis + 1):
                mean = dot(weights, flow[other])
                drift = np.float32(0.0)
                for o in range(patch.shape[1]):
                    drift += weighted[o] * (flow[other, o] - mean)
                moved[axis, other] = drift
                moved[other, axis] = drift
            # L s = with_x, so that s s' is what new coefficients make good.
            for c in range(C):
                pair = dot(weighted, patch[_CHANNELS + c])
                for k in range(c):
                    pair -= normal[c, k] * with_x[axis, k]
                with_x[axis, c] = pair / normal[c, c]
        for axis in range(_AXES):
            for other in range(_AXES):
                for c in range(C):
                    moved[axis, other] -= with_x[axis, c] * with_x[other, c]

    moving = compiled(moving_, fastmath=_FASTMATH)

    def linearise_(  # type: ignore[no-untyped-def]
        data, shape, points, u, valid, members, weight, variance, ridge, matrix, axes, turned,
        least_filling, gradient, curvature,
    ):  # fmt: skip
        """Sum explained and total variance, their gradient and Gauss-Newton matrix.

        `axes` is the linear part of the map from MRI millimetres to voxel indices, `turned` are
        the points from the images' centre on the MRI's axes.
        """
        rows = np.empty((points.shape[0], ALL), np.float32)
        size = (members.shape[1] + _LANES - 1) // _LANES * _LANES
        patch, weights = np.zeros((ALL, size), np.float32), np.zeros(size, np.float32)
        arms, flow = np.zeros((3, size), np.float32), np.zeros((3, size), np.float32)
        coefficient, normal = np.empty(C, np.float32), np.empty((C, C), np.float32)
        lever, force = np.empty(3, np.float32), np.empty(6, np.float32)
        moved, with_x = np.empty((3, 3), np.float32), np.empty((3, C), np.float32)
        J, f = np.zeros((3, 6), np.float32), np.empty(3, np.float32)
        for axis in range(_AXES):
            J[axis, axis] = 1.0
        gradient[:] = 0.0
        curvature[:] = 0.0
        count = np.float32(1.0 / members.shape[1])
        sampled(data, shape, points, u, valid, matrix, axes, rows, True)
        above, below = 0.0, 0.0
        for p in range(members.shape[0]):
            whole = gathered(rows, members[p], patch)
            gate = (whole * count - least_filling) / (1.0 - least_filling)
            if gate <= 0.0:
                continue
            share = min(gate, 1.0) * weight[p]
            patch[_WEIGHT, members.shape[1] :] = 0.0
            above += share * fit(patch, whole, ridge, weights, normal, coefficient)
            below += share * variance[p]
            for o in range(members.shape[1]):
                for axis in range(_AXES):
                    arms[axis, o] = turned[members[p, o], axis]
            moving(patch, arms, weights, normal, coefficient, flow, force, moved, with_x, lever)
            # A patch is small: for the curvature, all of it moves as its middle does.
            J[0, 4], J[0, 5] = lever[2], -lever[1]
            J[1, 3], J[1, 5] = -lever[2], lever[0]
            J[2, 3], J[2, 4] = lever[1], -lever[0]
            for a in range(6):
                for axis in range(_AXES):
                    f[axis] = 0.0
                    for other in range(_AXES):
                        f[axis] += moved[axis, other] * J[other, a]
                gradient[a] += 2.0 * share * force[a]
                for b in range(a, 6):
                    entry = np.float32(0.0)
                    for axis in range(_AXES):
                        entry += J[axis, b] * f[axis]
                    curvature[a, b] += 2.0 * share * entry
        for a in range(6):
            for b in range(a):
                curvature[a, b] = curvature[b, a]
        return above, below

    linearise = compiled(linearise_, fastmath=_FASTMATH)
    return Kernels(score, linearise)
