"""Brain shift of known size: the cortex under the craniotomy sags into the opening.

Brains sink by several millimetres after the dura is opened, most at the exposed cortex and along
gravity; Nabavi et al., Neurosurgery 48 (2001) 787, followed it with serial intraoperative MRI.
The Gaussian shape is set by us.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from us_recon.errors import ConfigError

STEEPEST = float(np.sqrt(2.0 / np.e))  # largest slope of exp(-r^2)
SLOPE_LIMIT = 0.8  # a slope of 1 would fold the tissue
TOLERANCE_MM = 1e-4
MOST_STEPS = 80


@dataclass(frozen=True, eq=False)
class Sag:
    """A displacement along one direction that falls off as ``exp(-(r / length)^2)``.

    Attributes:
        centre_mm: Where it is largest.
        direction: Unit vector.
        size_mm: Its size there, 0 or more.
        length_mm: Distance at which it has fallen to 1/e.

    Raises:
        ConfigError: It is so steep that it could not be undone.
    """

    centre_mm: Float64[np.ndarray, "3"]
    direction: Float64[np.ndarray, "3"]
    size_mm: float
    length_mm: float

    def __post_init__(self) -> None:
        if self.steepest_slope > SLOPE_LIMIT:
            least = STEEPEST * self.size_mm / SLOPE_LIMIT
            raise ConfigError(
                f"a shift of {self.size_mm:g} mm over {self.length_mm:g} mm would fold the tissue; "
                f"expected shift_length_mm of {least:.1f} mm or more, or a smaller shift_mm"
            )

    @property
    def steepest_slope(self) -> float:
        """Largest derivative of the displacement; less than 1, so that it can be inverted."""
        return STEEPEST * self.size_mm / self.length_mm

    def shift_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return how far points of the unmoved brain move."""
        squared = ((points_mm - self.centre_mm) ** 2).sum(axis=1) / self.length_mm**2
        return np.asarray(self.size_mm * np.exp(-squared)[:, None] * self.direction)

    def origin_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return where points of the moved brain were, by fixed-point iteration."""
        origin = points_mm - self.shift_mm(points_mm)
        for _ in range(MOST_STEPS):
            before = origin
            origin = points_mm - self.shift_mm(before)
            if np.abs(origin - before).max(initial=0.0) < TOLERANCE_MM * (1.0 - SLOPE_LIMIT):
                break
        return origin
