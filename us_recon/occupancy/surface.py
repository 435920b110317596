"""Where each beam of one frame meets the target."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, Float64

from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeGeometry


class SurfaceSource(StrEnum):
    """What a frame's surface was taken from."""

    LABEL = "label"
    DETECTOR = "detector"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class BeamSurface:
    """The target's surface as one frame shows it, at most one point per beam.

    Attributes:
        geometry: Geometry whose beams are meant; its beam count may be below the frame's.
        depth_mm: Depth of the surface along each beam from the array face; NaN where none is seen.
        confidence: 0 (none) to 1 for each beam.
        contact: Beams that carry sound into the body; the others say nothing at all.
        source: What the surface was taken from.
    """

    geometry: ProbeGeometry
    depth_mm: Float32[np.ndarray, " beams"]
    confidence: Float32[np.ndarray, " beams"]
    contact: Bool[np.ndarray, " beams"]
    source: SurfaceSource

    @property
    def found(self) -> Bool[np.ndarray, " beams"]:
        """Beams on which a surface is seen."""
        return np.isfinite(self.depth_mm) & self.contact

    def points_mm(
        self, T_world_transducer: Float64[np.ndarray, "4 4"]
    ) -> Float64[np.ndarray, "points 3"]:
        """Return the surface points in world mm, in the order of the beams that found one."""
        found = self.found
        reach = self.depth_mm[found, None].astype(np.float64)
        plane = self.geometry.beam_origins_mm[found] + reach * self.geometry.beam_directions[found]
        flat = np.column_stack([plane, np.zeros(len(plane))])
        return transform_points(T_world_transducer, flat)
