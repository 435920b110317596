"""Freehand volume reconstruction: paste tracked images into voxels, then fill the holes.

The pixel-nearest ("distribution") method of the field: every pixel of every image is carried to
the volume by ``T_world_image`` and given to the nearest voxel or, weighted, to the eight voxels
around it; voxels that several pixels reach keep their mean, maximum or latest value (Lasso et
al., "PLUS: Open-source toolkit for ultrasound-guided intervention systems", IEEE Trans. Biomed.
Eng. 61, 2014; reviewed in Solberg et al., "Freehand 3D ultrasound reconstruction algorithms - a
review", Ultrasound Med. Biol. 33, 2007). The result matches PLUS's own reconstructor.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import NDArray

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.region import ImageRegion
from us_recon.imaging.volume import Volume
from us_recon.settings import setting

MINIMUM_WEIGHT = 1.0 / 8.0
"""Weight from which a voxel counts as reached: what a pixel in the middle of eight gives each."""

MAXIMUM_VOXELS = 1_000_000_000

Splat = tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], NDArray[np.bool_]]


class Interpolation(StrEnum):
    """Which voxels receive a pixel."""

    NEAREST = "nearest"
    LINEAR = "linear"


class Compounding(StrEnum):
    """What a voxel keeps of the pixels that reach it."""

    MEAN = "mean"
    MAXIMUM = "maximum"
    LATEST = "latest"


@dataclass(frozen=True)
class CompoundingSettings:
    """How a volume is reconstructed from tracked images."""

    spacing_mm: float = setting(0.5, "Edge of a voxel.", unit="mm", minimum=0.01, maximum=50.0)
    interpolation: str = setting(
        "linear", "Which voxels receive a pixel.", choices=tuple(Interpolation)
    )
    compounding: str = setting(
        "mean", "What a voxel keeps of the pixels that reach it.", choices=tuple(Compounding)
    )
    fill: bool = setting(False, "Fill voxels that no pixel reached from both sides.")
    fill_length: int = setting(
        9, "Longest line of voxels, both ends included, across a hole.", minimum=3, maximum=99
    )


@dataclass(frozen=True, eq=False)
class CompoundedVolume:
    """A reconstructed volume.

    Attributes:
        volume: Brightness 0 to 255, in the world frame; 0 where nothing was measured.
        covered: Voxels that pixels reached.
        filled: Voxels that were filled from their neighbours.
        frame_count: Images used.
    """

    volume: Volume
    covered: Bool[np.ndarray, "i j k"]
    filled: Bool[np.ndarray, "i j k"]
    frame_count: int


def compound(
    frames: Iterable[TrackedFrame],
    grid: Grid,
    settings: CompoundingSettings,
    region: ImageRegion = ImageRegion(),
) -> CompoundedVolume:
    """Reconstruct a volume from tracked images, in the order given.

    Args:
        frames: Tracked images; only one is held at a time.
        grid: Voxels of the volume, in the world frame (see `grid_of_frames`).
        settings: Interpolation, compounding and hole filling.
        region: Part of each image to use; pixels outside the probe's sector are never used.

    Raises:
        InputError: There is no frame, or the grid is too large.
    """
    paste = _Paste(grid, Compounding(settings.compounding))
    splat = _splat_nearest if settings.interpolation == Interpolation.NEAREST else _splat_linear
    count = 0
    for count, frame in enumerate(frames, start=1):  # noqa: B007
        points_mm, values = _pixels_in_world(frame, region)
        for index, weight, counts in splat(points_mm, grid):
            paste.add(index[counts], weight[counts], values[counts])
    if count == 0:
        raise InputError("no tracked frame to reconstruct a volume from; `us-recon inspect` says why")
    data, covered = paste.result()
    filled = np.zeros_like(covered)
    if settings.fill:
        data, filled = fill_holes(data, covered, settings.fill_length)
    return CompoundedVolume(Volume(data, grid.T_space_index), covered, filled, count)


def grid_of_frames(
    frames: Iterable[TrackedFrame], spacing_mm: float, region: ImageRegion = ImageRegion()
) -> Grid:
    """Return the grid that holds the clip rectangle of every frame, as PLUS lays it out.

    Its first voxel is centred on the smallest coordinates, its axes are those of the world.

    Raises:
        InputError: There is no frame, or the volume would have too many voxels.
    """
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for frame in frames:
        first_x, first_y, last_x, last_y = region.rectangle(*frame.image.shape)
        corners = [[x, y, 0.0] for x, y in product((first_x, last_x), (first_y, last_y))]
        corners_mm = transform_points(frame.T_world_image, np.array(corners))
        low, high = np.minimum(low, corners_mm.min(axis=0)), np.maximum(high, corners_mm.max(axis=0))
    if not np.all(np.isfinite(low)):
        raise InputError("no tracked frame to reconstruct a volume from; `us-recon inspect` says why")
    shape = np.floor((high - low) / spacing_mm + 0.5).astype(int) + 1
    if np.prod(shape.astype(float)) > MAXIMUM_VOXELS:
        raise InputError(
            f"spacing_mm {spacing_mm} gives {shape.tolist()} voxels, more than {MAXIMUM_VOXELS:.0e}; "
            "use a larger spacing, or check the poses for outliers with `us-recon inspect`"
        )
    i, j, k = shape.tolist()
    x, y, z = low.tolist()
    return Grid(origin_mm=(x, y, z), spacing_mm=spacing_mm, shape=(i, j, k))


def fill_holes(
    data: Float32[np.ndarray, "i j k"], covered: Bool[np.ndarray, "i j k"], length: int
) -> tuple[Float32[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
    """Fill each hole along the shortest line of voxels that has measured voxels at both ends.

    Lines run in the 13 directions of a voxel's 26 neighbours. Values are interpolated linearly
    along the line; lines of equal length are averaged (PLUS's "stick" filling).

    Args:
        data: Voxel values.
        covered: Voxels with a measured value.
        length: Longest line in voxels, both ends included.

    Returns:
        The filled values and the voxels that were filled.
    """
    holes = np.flatnonzero(~covered.ravel())
    shortest = np.full(holes.size, np.inf)
    total, lines = np.zeros(holes.size), np.zeros(holes.size)
    for step in _half_of_the_26_neighbours():
        ahead, value_ahead = _first_covered(data, covered, holes, step, length)
        behind, value_behind = _first_covered(data, covered, holes, -step, length)
        usable = ahead + behind + 1 <= length
        span = (ahead + behind) * np.linalg.norm(step)
        value = (behind * value_ahead + ahead * value_behind) / np.maximum(ahead + behind, 1)
        better = usable & (span < shortest - 1e-9)
        equal = usable & ~better & (span <= shortest + 1e-9)
        shortest = np.where(better, span, shortest)
        total = np.where(better, value, total + np.where(equal, value, 0.0))
        lines = np.where(better, 1, lines + equal)
    found = lines > 0
    out, filled = data.ravel().copy(), np.zeros(data.size, dtype=bool)
    out[holes[found]] = total[found] / lines[found]
    filled[holes[found]] = True
    return out.reshape(data.shape), filled.reshape(data.shape)


class _Paste:
    """Voxel values while pixels arrive."""

    def __init__(self, grid: Grid, compounding: Compounding) -> None:
        self._shape = grid.shape
        self._compounding = compounding
        size = int(np.prod(grid.shape))
        self._value = np.zeros(size)
        self._weight = np.zeros(size)

    def add(
        self,
        index: Int[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        value: Float[np.ndarray, " n"],
    ) -> None:
        if index.size == 0:
            return
        if self._compounding is Compounding.MEAN:
            low = int(index.min())
            span = slice(low, int(index.max()) + 1)
            self._value[span] += np.bincount(index - low, weight * value)
            self._weight[span] += np.bincount(index - low, weight)
            return
        strong = weight >= MINIMUM_WEIGHT
        index, value = index[strong], value[strong]
        self._weight[index] = 1.0
        if self._compounding is Compounding.MAXIMUM:
            np.maximum.at(self._value, index, value)
        else:
            self._value[index] = value

    def result(self) -> tuple[Float32[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
        covered = self._weight >= MINIMUM_WEIGHT
        value = np.where(covered, self._value, 0.0)
        if self._compounding is Compounding.MEAN:
            value = value / np.where(covered, self._weight, 1.0)
        return value.astype(np.float32).reshape(self._shape), covered.reshape(self._shape)


def _pixels_in_world(
    frame: TrackedFrame, region: ImageRegion
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    used = region.mask(*frame.image.shape) & frame.geometry.fan_mask
    rows, columns = np.nonzero(used)
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.float64)
    return transform_points(frame.T_world_image, pixels), frame.image[used].astype(np.float64)


def _splat_nearest(points_mm: Float[np.ndarray, "n 3"], grid: Grid) -> Iterator[Splat]:
    index = grid.mm_to_index(points_mm)
    yield _flat(index, grid), np.ones(len(index)), _inside(index, grid)


def _splat_linear(points_mm: Float[np.ndarray, "n 3"], grid: Grid) -> Iterator[Splat]:
    scaled = (points_mm - np.asarray(grid.origin_mm)) / grid.spacing_mm
    low = np.floor(scaled).astype(np.int64)
    above = scaled - low
    for corner in product((0, 1), repeat=3):
        weight = np.where(corner, above, 1.0 - above).prod(axis=1)
        index = low + np.array(corner)
        yield _flat(index, grid), weight, _inside(index, grid) & (weight > 0.0)


def _inside(index: Int[np.ndarray, "n 3"], grid: Grid) -> NDArray[np.bool_]:
    return np.asarray(np.all((index >= 0) & (index < np.array(grid.shape)), axis=1))


def _flat(index: Int[np.ndarray, "n 3"], grid: Grid) -> Int[np.ndarray, " n"]:
    _, rows, layers = grid.shape
    return (index[:, 0] * rows + index[:, 1]) * layers + index[:, 2]


def _half_of_the_26_neighbours() -> list[NDArray[np.int64]]:
    return [np.array(step) for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


def _first_covered(
    data: Float32[np.ndarray, "i j k"],
    covered: Bool[np.ndarray, "i j k"],
    holes: Int[np.ndarray, " n"],
    step: Int[np.ndarray, "3"],
    length: int,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return how many steps lead to the first covered voxel (`length` where none) and its value."""
    distance = np.full(holes.size, length)
    value = np.zeros(holes.size)
    position = np.stack(np.unravel_index(holes, data.shape), axis=-1)
    walking = np.arange(holes.size)
    for steps in range(1, length - 1):
        here = position[walking] + steps * step
        within = np.all((here >= 0) & (here < np.array(data.shape)), axis=1)
        walking, here = walking[within], here[within]
        hit = covered[tuple(here.T)]
        distance[walking[hit]] = steps
        value[walking[hit]] = data[tuple(here[hit].T)]
        walking = walking[~hit]
    return distance, value
