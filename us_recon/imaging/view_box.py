"""A box in the world that images have to show something of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from us_recon.errors import ConfigError
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeGeometry

_PARTS = 16  # of an image along either side: so finely it is looked at


@dataclass(frozen=True, eq=False)
class ViewBox:
    """A box along the axes of the world.

    Attributes:
        corners_mm: The lower corner and the upper one.
    """

    corners_mm: Float64[np.ndarray, "2 3"]

    @classmethod
    def of(cls, box_mm: tuple[float, ...]) -> "ViewBox | None":
        """Return the box between two corners, None where all six numbers are 0.

        Args:
            box_mm: x, y and z of the lower corner, then of the upper one.

        Raises:
            ConfigError: The upper corner is not above the lower one.
        """
        if not any(box_mm):
            return None
        corners = np.array(box_mm).reshape(2, 3)
        if not (corners[0] < corners[1]).all():
            raise ConfigError(
                f"box_mm is {list(box_mm)}; expected x, y and z of its lower corner, then of its "
                "upper corner, each larger than that of the lower one"
            )
        return cls(corners)

    def is_shown(
        self, T_world_transducer: Float64[np.ndarray, "4 4"], geometry: ProbeGeometry
    ) -> bool:
        """Tell whether any point of an image lies in the box."""
        beams, samples = (
            max(count // _PARTS, 1) for count in (geometry.beam_count, geometry.sample_count)
        )
        plane_mm = geometry.beam_points_mm[::beams, ::samples].reshape(-1, 2)
        points_mm = transform_points(T_world_transducer, np.pad(plane_mm, ((0, 0), (0, 1))))
        low, high = self.corners_mm
        return bool(((points_mm >= low) & (points_mm <= high)).all(axis=1).any())
