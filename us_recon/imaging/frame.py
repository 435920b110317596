"""One ultrasound image with everything that is needed to place it in space."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.imaging.probe import ProbeGeometry


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """An image, the pose at which it was taken and the geometry of its pixels.

    Attributes:
        stamp_ns: Acquisition time.
        image: Brightness in MF orientation.
        T_world_transducer: Rigid pose of the array face in the world, mm.
        geometry: Geometry of the image.
        label: 0 background, more than 0 inside the target or on its surface; None if unlabelled.
        late: Whether the label came after the frame had been given out without it.
    """

    stamp_ns: int
    image: UInt8[np.ndarray, "rows columns"]
    T_world_transducer: Float64[np.ndarray, "4 4"]
    geometry: ProbeGeometry
    label: UInt8[np.ndarray, "rows columns"] | None = None
    late: bool = False

    @property
    def T_world_image(self) -> Float64[np.ndarray, "4 4"]:
        """The affine that maps ``(column, row, 0, 1)`` to world millimetres."""
        return self.T_world_transducer @ self.geometry.T_transducer_image
