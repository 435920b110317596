"""The part of an image that carries ultrasound: a clip rectangle and a fan, in pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from us_recon.errors import InputError

EDGE_MARGIN_PX = 1.0
"""Pixels nearer than this to the fan's outline are left out: they mix with the background."""


@dataclass(frozen=True)
class Fan:
    """A ring sector in the image, as in PLUS's VolumeReconstruction element.

    Attributes:
        origin_px: Column and row of the point where its straight edges meet.
        angles_deg: Directions of the two straight edges, 0 along +row, positive to +column.
        radii_px: Inner and outer radius.
    """

    origin_px: tuple[float, float]
    angles_deg: tuple[float, float]
    radii_px: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.angles_deg
        if not -90.0 < low < high < 90.0:
            raise InputError(
                f"fan: angles are {self.angles_deg} deg; expected -90 < first < last < 90"
            )
        if not 0.0 <= self.radii_px[0] < self.radii_px[1]:
            raise InputError(f"fan: radii are {self.radii_px} px; expected 0 <= inner < outer")

    def mask(self, height_px: int, width_px: int) -> Bool[np.ndarray, "rows columns"]:
        """Return the pixels at least `EDGE_MARGIN_PX` inside the outline."""
        rows, columns = np.mgrid[:height_px, :width_px].astype(np.float64)
        x, y = columns - self.origin_px[0], rows - self.origin_px[1]
        first, last = np.radians(self.angles_deg)
        after_first = x * np.cos(first) - y * np.sin(first)  # distances to the straight edges
        before_last = y * np.sin(last) - x * np.cos(last)
        radius = np.hypot(x, y)
        inner = self.radii_px[0] - radius if self.radii_px[0] > 0 else -radius - EDGE_MARGIN_PX
        nearest = np.min([after_first, before_last, -inner, self.radii_px[1] - radius], axis=0)
        return np.asarray(nearest >= EDGE_MARGIN_PX - 1e-9)


@dataclass(frozen=True)
class ImageRegion:
    """Pixels to use: inside the clip rectangle and inside the fan, where they are given.

    Attributes:
        clip_px: Column and row of the first pixel, then width and height, of the rectangle.
        fan: The fan, or None.
    """

    clip_px: tuple[int, int, int, int] | None = None
    fan: Fan | None = None

    def __post_init__(self) -> None:
        if self.clip_px is not None and (min(self.clip_px) < 0 or min(self.clip_px[2:]) < 1):
            raise InputError(
                f"clip rectangle is {self.clip_px}; expected column and row of its corner, "
                "0 or more, then width and height, 1 or more"
            )

    def mask(self, height_px: int, width_px: int) -> Bool[np.ndarray, "rows columns"]:
        """Return the pixels of the region.

        Raises:
            InputError: The region holds no pixel of an image of this size.
        """
        inside = np.zeros((height_px, width_px), dtype=bool)
        column, row, width, height = self.clip_px or (0, 0, width_px, height_px)
        inside[row : row + height, column : column + width] = True
        if self.fan is not None:
            inside &= self.fan.mask(height_px, width_px)
        if not inside.any():
            raise InputError(
                f"region {self} holds no pixel of an image of {width_px} x {height_px}; "
                "check the clip rectangle and the fan against the image size"
            )
        return inside

    def rectangle(self, height_px: int, width_px: int) -> tuple[int, int, int, int]:
        """Return first column, first row, last column, last row of the clip rectangle."""
        column, row, width, height = self.clip_px or (0, 0, width_px, height_px)
        return column, row, min(column + width, width_px) - 1, min(row + height, height_px) - 1


WHOLE_IMAGE = ImageRegion()
