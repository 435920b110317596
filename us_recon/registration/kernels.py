"""Compiled loops of the similarity: channels sampled at a pose, patches fitted, sums taken.

Every patch is fitted through its moments: each sample's products are formed once and summed over
the patches that hold it. One set of loops is compiled for each number of channels.

The moments of the derivatives are those of variable projection: with the fitted coefficients a,
the fit moves with position by ``f = sum_c a_c grad x_c``, and what new coefficients would make good
is projected out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from us_recon.compiled import compiled

Array = NDArray[np.float32]
Wide = NDArray[np.float64]

_LEAST_SHARE = 0.02
_FASTMATH = {"contract", "reassoc", "nsz"}


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
    PAIRS = C * (C + 1) // 2
    X, XU, XX = 2, 2 + C, 2 + 2 * C
    VALUES = 2 + 2 * C + PAIRS
    G = 3 * C
    GU, GX, GG = VALUES + G, VALUES + 2 * G, VALUES + 2 * G + G * C
    R = GG + G * (G + 1) // 2
    RU, RX = R + G, R + 2 * G
    ALL = RX + G * C

    def moments_(  # type: ignore[no-untyped-def]  # noqa: PLR0915
        data, shape, points, u, valid, matrix, axes, turned, rows, with_slopes
    ):  # fmt: skip
        """Write the products of each sample, with the channels interpolated trilinearly.

        A sample outside the volume, or where the mask is 0, has the weight 0.
        """
        high_i, high_j, high_k = shape[0] - 1, shape[1] - 1, shape[2] - 1
        step_j = shape[2] * ROW
        step_i = shape[1] * step_j
        x = np.empty(ROW, np.float32)
        slopes, turns = np.empty(G, np.float32), np.empty(G, np.float32)
        for n in range(points.shape[0]):
            p, q, r = points[n, 0], points[n, 1], points[n, 2]
            xi = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
            yj = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
            zk = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
            inside = (xi >= 0) & (xi < high_i) & (yj >= 0) & (yj < high_j)
            if not (inside & (zk >= 0) & (zk < high_k)):
                for k in range(rows.shape[1]):
                    rows[n, k] = 0.0
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
                x[m] = low + s * (high - low)
                if with_slopes and m < C:
                    by_i = high - low
                    by_j = (lb - la) + s * ((ld - lc) - (lb - la))
                    near = (a1 - a0) + t * ((b1 - b0) - (a1 - a0))
                    far = (c1 - c0) + t * ((d1 - d0) - (c1 - c0))
                    by_k = near + s * (far - near)
                    for o in range(3):
                        slopes[3 * m + o] = (
                            by_i * axes[0, o] + by_j * axes[1, o] + by_k * axes[2, o]
                        )
                    by_x, by_y, by_z = slopes[3 * m], slopes[3 * m + 1], slopes[3 * m + 2]
                    lx, ly, lz = turned[n, 0], turned[n, 1], turned[n, 2]
                    turns[3 * m] = ly * by_z - lz * by_y
                    turns[3 * m + 1] = lz * by_x - lx * by_z
                    turns[3 * m + 2] = lx * by_y - ly * by_x
            w, brightness = valid[n] * x[C], u[n]
            rows[n, 0] = w
            rows[n, 1] = w * brightness
            at = XX
            for m in range(C):
                wx = w * x[m]
                rows[n, X + m] = wx
                rows[n, XU + m] = wx * brightness
                for o in range(m + 1):
                    rows[n, at] = wx * x[o]
                    at += 1
            if with_slopes:
                at = GG
                for g in range(G):
                    wg = w * slopes[g]
                    rows[n, VALUES + g] = wg
                    rows[n, GU + g] = wg * brightness
                    wr = w * turns[g]
                    rows[n, R + g] = wr
                    rows[n, RU + g] = wr * brightness
                    for m in range(C):
                        rows[n, GX + g * C + m] = wg * x[m]
                        rows[n, RX + g * C + m] = wr * x[m]
                    for h in range(g + 1):
                        rows[n, at] = wg * slopes[h]
                        at += 1

    moments = compiled(moments_, fastmath=_FASTMATH)

    def fit_(total, ridge, normal, mean, coefficient):  # type: ignore[no-untyped-def]
        """Fit a patch from its moments, each divided by the weight; return what is explained.

        `normal` becomes the Cholesky factor of the damped normal matrix.
        """
        u = total[1]
        at = XX
        for c in range(C):
            mean[c] = total[X + c]
            coefficient[c] = total[XU + c] - mean[c] * u
            for d in range(c + 1):
                normal[c, d] = total[at] - mean[c] * mean[d]
                at += 1
            normal[c, c] += ridge[c]
        explained = np.float32(0.0)
        for c in range(C):
            for d in range(c + 1):
                rest = normal[c, d]
                for k in range(d):
                    rest -= normal[c, k] * normal[d, k]
                if c == d:
                    normal[c, c] = np.sqrt(max(rest, np.float32(1e-12)))
                else:
                    normal[c, d] = rest / normal[d, d]
            rest = coefficient[c]
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
        rows = np.empty((points.shape[0], VALUES), np.float32)
        sums, none = np.empty(VALUES, np.float32), np.empty((0, 3), np.float32)
        mean, coefficient = np.empty(C, np.float32), np.empty(C, np.float32)
        normal = np.empty((C, C), np.float32)
        count = np.float32(1.0 / members.shape[1])
        for pose in range(matrices.shape[0]):
            matrix = matrices[pose]
            moments(data, shape, points, u, valid, matrix, none, none, rows, False)
            above, below = 0.0, 0.0
            for p in range(members.shape[0]):
                sums[:] = 0.0
                for o in range(members.shape[1]):
                    n = members[p, o]
                    for k in range(VALUES):
                        sums[k] += rows[n, k]
                gate = (sums[0] * count - least_filling) / (1.0 - least_filling)
                if gate <= 0.0:
                    continue
                share = min(gate, 1.0) * weight[p]
                inverse = np.float32(1.0) / sums[0]
                for k in range(VALUES):
                    sums[k] *= inverse
                above += share * fit(sums, ridge, normal, mean, coefficient)
                below += share * variance[p]
            explained[pose], total[pose] = above, below

    score = compiled(score_, fastmath=_FASTMATH)

    def linearise_(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915
        data, shape, points, u, valid, members, weight, variance, ridge, matrix, axes, turned,
        least_filling, gradient, curvature,
    ):  # fmt: skip
        """Sum explained and total variance, their gradient and Gauss-Newton matrix.

        `axes` is the linear part of the map from MRI millimetres to voxel indices, `turned` are
        the points from the images' centre on the MRI's axes.
        """
        rows = np.empty((points.shape[0], ALL), np.float32)
        sums, lever = np.empty(ALL, np.float32), np.empty(3, np.float32)
        mean, coefficient = np.empty(C, np.float32), np.empty(C, np.float32)
        normal = np.empty((C, C), np.float32)
        f, force = np.empty(3), np.empty(6)
        moved = np.empty((3, 3))
        with_x = np.empty((3, C))
        J = np.zeros((3, 6))
        for axis in range(3):
            J[axis, axis] = 1.0
        slopes_spread = np.empty((G, G), np.float32)
        gradient[:] = 0.0
        curvature[:] = 0.0
        count = np.float32(1.0 / members.shape[1])
        moments(data, shape, points, u, valid, matrix, axes, turned, rows, True)
        above, below = 0.0, 0.0
        for p in range(members.shape[0]):
            sums[:] = 0.0
            lever[:] = 0.0
            for o in range(members.shape[1]):
                n = members[p, o]
                for k in range(ALL):
                    sums[k] += rows[n, k]
                for axis in range(3):
                    lever[axis] += turned[n, axis] * rows[n, 0]
            gate = (sums[0] * count - least_filling) / (1.0 - least_filling)
            if gate <= 0.0:
                continue
            share = min(gate, 1.0) * weight[p]
            inverse = np.float32(1.0) / sums[0]
            for k in range(ALL):
                sums[k] *= inverse
            for axis in range(3):
                lever[axis] *= inverse
            above += share * fit(sums, ridge, normal, mean, coefficient)
            below += share * variance[p]
            at = GG
            for g in range(G):
                for h in range(g + 1):
                    slopes_spread[g, h] = sums[at] - sums[VALUES + g] * sums[VALUES + h]
                    slopes_spread[h, g] = slopes_spread[g, h]
                    at += 1
            for axis in range(3):
                force[axis] = 0.0
                force[axis + 3] = 0.0
                for c in range(C):
                    with_x[axis, c] = 0.0
                for other in range(3):
                    moved[axis, other] = 0.0
                for c in range(C):
                    g = 3 * c + axis
                    slope = sums[VALUES + g]
                    pull = sums[GU + g] - slope * sums[1]
                    for d in range(C):
                        pair = sums[GX + g * C + d] - slope * mean[d]
                        pull -= coefficient[d] * pair
                        with_x[axis, d] += coefficient[c] * pair
                    force[axis] += coefficient[c] * pull
                    turn = sums[RU + g] - sums[R + g] * sums[1]
                    for d in range(C):
                        pair = sums[RX + g * C + d] - sums[R + g] * mean[d]
                        turn -= coefficient[d] * pair
                    force[axis + 3] += coefficient[c] * turn
                    for other in range(3):
                        for d in range(C):
                            moved[axis, other] += (
                                coefficient[c] * coefficient[d] * slopes_spread[g, 3 * d + other]
                            )
                # L s = with_x, so that s s' is what new coefficients make good.
                for c in range(C):
                    rest = with_x[axis, c]
                    for k in range(c):
                        rest -= normal[c, k] * with_x[axis, k]
                    with_x[axis, c] = rest / normal[c, c]
            for axis in range(3):
                for other in range(3):
                    for c in range(C):
                        moved[axis, other] -= with_x[axis, c] * with_x[other, c]
            # A patch is small: for the curvature, all of it moves as its middle does.
            J[0, 4], J[0, 5] = lever[2], -lever[1]
            J[1, 3], J[1, 5] = -lever[2], lever[0]
            J[2, 3], J[2, 4] = lever[1], -lever[0]
            for a in range(6):
                for axis in range(3):
                    f[axis] = 0.0
                    for other in range(3):
                        f[axis] += moved[axis, other] * J[other, a]
                gradient[a] += 2.0 * share * force[a]
                for b in range(a, 6):
                    entry = 0.0
                    for axis in range(3):
                        entry += J[axis, b] * f[axis]
                    curvature[a, b] += 2.0 * share * entry
        for a in range(6):
            for b in range(a):
                curvature[a, b] = curvature[b, a]
        return above, below

    linearise = compiled(linearise_, fastmath=_FASTMATH)
    return Kernels(score, linearise)
