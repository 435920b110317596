"""Where a shape may lie: poses from all over, scored coarsely, the best ones refined."""

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.spatial.transform import Rotation

from us_recon.geometry.rigid import Matrix4, make_rigid, transform_points
from us_recon.occupancy.prior.fit import Fit, fitted
from us_recon.occupancy.prior.observation import Observation, thinned
from us_recon.occupancy.prior.settings import FitSettings
from us_recon.occupancy.prior.shape import ShapePrior

ROTATIONS = 1200
_CELLS = 36  # of the coarse grid along its longest side
_STRIDE = 3  # cells between positions
_SCORED = 96  # points of each kind that a coarse score looks at
_PER_ROTATION, _COARSE, _FINE = 3, 48, 8
_PATCHES = 400  # of surface and of empty space that rough fits look at
_FREE_PENALTY = 2.0

_PHI, _PSI = np.sqrt(2.0), 1.533751168755204288118041


def rotations(count: int) -> Rotation:
    """Return rotations spread evenly over all there are (super-Fibonacci spirals, Alexa 2022)."""
    s = np.arange(count) + 0.5
    r, big_r = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    alpha, beta = 2.0 * np.pi * s / _PHI, 2.0 * np.pi * s / _PSI
    return Rotation.from_quat(
        np.stack(
            [r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta), big_r * np.cos(beta)],
            axis=1,
        )
    )


def search(prior: ShapePrior, seen: Observation, settings: FitSettings) -> list[Fit]:
    """Return answers at different poses, the best first; it is the same each time.

    Args:
        prior: The population.
        seen: What was seen; at least one patch.
        settings: Noise and weights.
    """
    mean = prior.mean_only()
    size_mm = prior.size_mm
    thin = thinned(seen, _PATCHES)
    rough = (0.1 * size_mm, 0.05 * size_mm)
    nothing = np.zeros(0)
    starts = [
        fitted(mean, thin, T, nothing, settings, rough, steps=8)
        for T in distinct(prior, coarse_poses(prior, seen), 0.1 * size_mm, _COARSE)
    ]
    starts.sort(key=lambda fit: fit.cost)
    poses = distinct(prior, [fit.T_prior_world for fit in starts], 0.05 * size_mm, _FINE)
    outliers_mm = (max(3.0 * settings.outlier_mm, 0.05 * size_mm), settings.outlier_mm)
    shaped = np.zeros(prior.mode_count)
    fits = [fitted(prior, seen, T, shaped, settings, outliers_mm, steps=25) for T in poses]
    fits.sort(key=lambda fit: fit.cost)
    kept = distinct(prior, [fit.T_prior_world for fit in fits], 0.03 * size_mm, _FINE)
    return [fit for fit in fits if any(fit.T_prior_world is T for T in kept)]


def distinct(prior: ShapePrior, poses: list[Matrix4], apart_mm: float, count: int) -> list[Matrix4]:
    """Return the first poses that put the prior's surface to different places.

    Args:
        prior: The population.
        poses: From the world to the prior's frame, the best first.
        apart_mm: Mean distance of the mean's surface points at which places are different.
        count: How many to return at most.
    """
    corners = prior.corners_mm
    kept: list[Matrix4] = []
    places: list[Float64[np.ndarray, "8 3"]] = []
    for T in poses:
        place = transform_points(np.linalg.inv(T), corners)
        if all(np.linalg.norm(place - other, axis=1).mean() > apart_mm for other in places):
            kept.append(T)
            places.append(place)
            if len(kept) == count:
                break
    return kept


def coarse_poses(prior: ShapePrior, seen: Observation) -> list[Matrix4]:
    """Return poses from all over, those at which the mean explains best what was seen first."""
    table = _Table(prior)
    centre = np.average(seen.points_mm.astype(np.float64), axis=0, weights=seen.weight)
    surface, free = _picked(seen.points_mm, centre), _picked(seen.free_mm, centre)
    radius_mm = float(max(np.linalg.norm(part, axis=1).max(initial=0) for part in (surface, free)))
    table.pad(radius_mm)
    found: list[tuple[float, Matrix4]] = []
    for rotation in rotations(ROTATIONS).as_matrix():
        score = table.scores(surface @ rotation.T, table.surface).mean(axis=0)
        if len(free):
            score += table.scores(free @ rotation.T, table.free).mean(axis=0)
        for best in np.argsort(score, kind="stable")[:_PER_ROTATION]:
            T = make_rigid(rotation, table.positions_mm[best] - rotation @ centre)
            found.append((float(score[best]), T))
    found.sort(key=lambda pair: pair[0])
    return [T for _, T in found]


def _picked(
    points_mm: Float32[np.ndarray, "n 3"], centre: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "k 3"]:
    order = np.random.default_rng(0).permutation(len(points_mm))[:_SCORED]
    return points_mm[np.sort(order)].astype(np.float64) - centre


class _Table:
    """The mean on coarse cells, so that a move by whole cells is a sum of two numbers."""

    def __init__(self, prior: ShapePrior) -> None:
        low = np.asarray(prior.grid.origin_mm)
        extent = (np.array(prior.grid.shape) - 1) * prior.grid.spacing_mm
        self._cell_mm = float(extent.max()) / _CELLS
        count = np.ceil(extent / self._cell_mm).astype(int) + 1
        index = np.indices(tuple(count)).reshape(3, -1).T
        points = low + index * self._cell_mm
        mean = prior.mean_only().distances(points, np.zeros(0)).value_mm.reshape(tuple(count))
        self._low = low
        self._mean = mean
        steps = np.indices(tuple(-(-count // _STRIDE))).reshape(3, -1).T
        self._steps = steps * _STRIDE
        self.positions_mm: Float64[np.ndarray, "p 3"] = low + self._steps * self._cell_mm

    def pad(self, radius_mm: float) -> None:
        """Make room for points up to this far from a position."""
        pad = int(np.ceil(radius_mm / self._cell_mm)) + 2
        far = float(self._mean.max())
        mean = np.pad(self._mean, pad, constant_values=far)
        self._pad = pad
        self._shape = mean.shape
        self.surface = np.minimum(np.abs(mean) / far, 1.0).astype(np.float32).ravel() ** 2
        deep = np.maximum(-mean - 0.5 * self._cell_mm, 0.0) / far
        self.free = (_FREE_PENALTY * np.minimum(deep, 1.0)).astype(np.float32).ravel()
        self._offsets = self._flat(self._steps)

    def scores(
        self, points_mm: Float64[np.ndarray, "n 3"], table: Float32[np.ndarray, " cells"]
    ) -> Float32[np.ndarray, "n p"]:
        """Return what the table says of each point at each position of the centre."""
        index = np.rint(points_mm / self._cell_mm).astype(np.int64) + self._pad
        return table[self._flat(index)[:, None] + self._offsets]

    def _flat(self, index: Int64[np.ndarray, "n 3"]) -> Int64[np.ndarray, " n"]:
        _, y, z = self._shape
        return (index[:, 0] * y + index[:, 1]) * z + index[:, 2]
