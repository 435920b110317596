"""Freehand volume reconstruction: paste tracked images into voxels, then fill the holes.

The pixel-nearest ("distribution") method of the field: every pixel of every image is carried to
the volume by ``T_world_image`` and given to the nearest voxel or, weighted, to the eight voxels
around it; voxels that several pixels reach keep their mean, maximum or latest value (Lasso et
al., "PLUS: Open-source toolkit for ultrasound-guided intervention systems", IEEE Trans. Biomed.
Eng. 61, 2014; reviewed in Solberg et al., "Freehand 3D ultrasound reconstruction algorithms - a
review", Ultrasound Med. Biol. 33, 2007). The result matches PLUS's own reconstructor.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.hole_filling import fill_holes
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.region import WHOLE_IMAGE, ImageRegion
from us_recon.imaging.volume import Volume
from us_recon.settings import setting

MINIMUM_WEIGHT = 1.0 / 8.0
"""Weight from which a voxel counts as reached: what a pixel in the middle of eight gives each."""

MAXIMUM_VOXELS = 300_000_000
"""More would need over 10 GB of memory."""


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
    region: ImageRegion = WHOLE_IMAGE,
) -> CompoundedVolume:
    """Reconstruct a volume from tracked images, in the order given.

    Args:
        frames: Tracked images; only one is held at a time.
        grid: Voxels of the volume, in the world frame (see `grid_of_frames`).
        settings: Interpolation, compounding and hole filling.
        region: Part of each image to use; pixels outside the probe's sector are never used.

    Raises:
        InputError: There is no frame, or the region lies outside the images.
    """
    paste = _Paste(grid, Interpolation(settings.interpolation), Compounding(settings.compounding))
    T_grid_world = np.linalg.inv(grid.T_space_index)
    count = 0
    for frame in frames:
        count += 1
        pixels, used = _used_pixels(frame.geometry, region)
        T_grid_image = T_grid_world @ frame.T_world_image
        index = T_grid_image[:3, :2] @ pixels + T_grid_image[:3, 3:]
        paste.add(index, frame.image[used].astype(np.float64))
    if count == 0:
        raise InputError(
            "no tracked frame to reconstruct a volume from; `us-recon inspect` says why"
        )
    data, covered = paste.result()
    filled = np.zeros_like(covered)
    if settings.fill:
        data, filled = fill_holes(data, covered, settings.fill_length)
    return CompoundedVolume(Volume(data, grid.T_space_index), covered, filled, count)


def grid_of_frames(
    frames: Iterable[TrackedFrame], spacing_mm: float, region: ImageRegion = WHOLE_IMAGE
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
        low, high = (
            np.minimum(low, corners_mm.min(axis=0)),
            np.maximum(high, corners_mm.max(axis=0)),
        )
    if not np.all(np.isfinite(low)):
        raise InputError(
            "no tracked frame to reconstruct a volume from; `us-recon inspect` says why"
        )
    shape = np.floor((high - low) / spacing_mm + 0.5).astype(int) + 1
    if np.prod(shape.astype(float)) > MAXIMUM_VOXELS:
        raise InputError(
            f"spacing_mm {spacing_mm} gives {shape.tolist()} voxels, over {MAXIMUM_VOXELS:.0e}; "
            "use a larger spacing, or check the poses for outliers with `us-recon inspect`"
        )
    i, j, k = shape.tolist()
    x, y, z = low.tolist()
    return Grid(origin_mm=(x, y, z), spacing_mm=spacing_mm, shape=(i, j, k))


class _Paste:
    """Voxel values while pixels arrive."""

    def __init__(self, grid: Grid, interpolation: Interpolation, compounding: Compounding) -> None:
        self._interpolation = interpolation
        self._compounding = compounding
        # One voxel more on each side, so that the corners around a pixel always exist.
        self._shape = tuple(extent + 2 for extent in grid.shape)
        self._value = np.zeros(int(np.prod(self._shape)))
        self._weight = np.zeros_like(self._value)

    def add(self, index: Float[np.ndarray, "3 n"], value: Float[np.ndarray, " n"]) -> None:
        """Give pixels, at fractional voxel indices, to the voxels around them."""
        nearest = self._interpolation is Interpolation.NEAREST
        low = np.floor(index + 0.5 if nearest else index)
        inside = np.ones(value.size, dtype=bool)
        for along, extent in zip(low, self._shape, strict=True):
            inside &= (along >= -1) & (along < extent - 2)
        low, value = low[:, inside], value[inside]
        base = self._flat(*(low.astype(np.int64) + 1))
        if nearest:
            self._give(base, np.ones(value.size), value)
            return
        above = index[:, inside] - low
        shares = (1.0 - above, above)
        for x, y, z in product((0, 1), repeat=3):
            weight = shares[x][0] * shares[y][1] * shares[z][2]
            self._give(base + self._flat(x, y, z), weight, value)

    def result(self) -> tuple[Float32[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
        """Return the voxel values, 0 where nothing was measured, and the voxels covered."""
        covered = self._weight >= MINIMUM_WEIGHT
        value = np.where(covered, self._value, 0.0)
        if self._compounding is Compounding.MEAN:
            value = value / np.where(covered, self._weight, 1.0)
        inner = (slice(1, -1),) * 3
        values = value.astype(np.float32).reshape(self._shape)[inner]
        return values.copy(), covered.reshape(self._shape)[inner].copy()

    def _flat(self, i: Any, j: Any, k: Any) -> Any:
        return (i * self._shape[1] + j) * self._shape[2] + k

    def _give(
        self,
        index: Int[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        value: Float[np.ndarray, " n"],
    ) -> None:
        if self._compounding is Compounding.MEAN:
            np.add.at(self._value, index, weight * value)
            np.add.at(self._weight, index, weight)
            return
        strong = weight >= MINIMUM_WEIGHT
        index, value = index[strong], value[strong]
        self._weight[index] = 1.0
        if self._compounding is Compounding.MAXIMUM:
            np.maximum.at(self._value, index, value)
        else:
            self._value[index] = value  # of several pixels in a voxel the last one stays


@lru_cache(maxsize=8)
def _used_pixels(
    geometry: ProbeGeometry, region: ImageRegion
) -> tuple[Float[np.ndarray, "2 n"], Bool[np.ndarray, "rows columns"]]:
    """Return column and row of the pixels to paste, and where they lie in the image."""
    used = region.mask(*geometry.shape) & geometry.fan_mask
    rows, columns = np.nonzero(used)
    return np.stack([columns, rows]).astype(np.float64), used
