"""Where each beam of one frame meets the target."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, Float64

from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeGeometry

_LEAST_TRUST = 0.1  # a label outweighs at most ten times its number of surfaces from the detector


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
        trust: How far the labels so far say that the detector can be trusted, 0 to 1.
    """

    geometry: ProbeGeometry
    depth_mm: Float32[np.ndarray, " beams"]
    confidence: Float32[np.ndarray, " beams"]
    contact: Bool[np.ndarray, " beams"]
    source: SurfaceSource
    trust: float = 1.0

    @property
    def worth(self) -> float:
        """What the surface weighs in a map against one from the detector.

        A label weighs more, the less the detector can be trusted. Weighing the detector less
        instead would leave holes where it alone speaks.
        """
        if self.source != SurfaceSource.LABEL:
            return 1.0
        return 1.0 / max(self.trust, _LEAST_TRUST)

    @property
    def found(self) -> Bool[np.ndarray, " beams"]:
        """Beams on which a surface is seen."""
        return np.isfinite(self.depth_mm) & self.contact

    def between_beams(
        self, beam: Float64[np.ndarray, " n"], *, jump_mm: float
    ) -> tuple[Float64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Return depth (mm) and confidence between beams; the nearest beam's where one has none.

        Args:
            beam: Fractional indices of beams. Half a beam beyond the outermost and further there is
                no depth (NaN).
            jump_mm: Neighbouring beams further apart than this are on different surfaces.
        """
        count = len(self.depth_mm)
        depth_mm = np.where(self.found, self.depth_mm, np.nan).astype(np.float64)
        inside = (beam >= -0.5) & (beam <= count - 0.5)
        nearest = np.clip(np.rint(beam), 0, count - 1).astype(np.int64)
        left = np.clip(np.floor(beam), 0, count - 2).astype(np.int64)
        part = np.clip(beam - left, 0.0, 1.0)
        rise_mm = depth_mm[left + 1] - depth_mm[left]
        goes_on = np.abs(rise_mm) <= jump_mm  # false for NaN
        depth_mm = np.where(goes_on, depth_mm[left] + part * rise_mm, depth_mm[nearest])
        return np.where(inside, depth_mm, np.nan), self.confidence[nearest]

    def on_beams_of(
        self, geometry: ProbeGeometry, *, jump_mm: float
    ) -> tuple[Float32[np.ndarray, " beams"], Float32[np.ndarray, " beams"]]:
        """Return depth (mm) and confidence on the beams of the same probe with more or fewer."""
        ends = geometry.beam_points_mm[:, -1]  # at the face those of a phased array meet
        at = np.clip(self.geometry.mm_to_beams(ends)[:, 0], 0, len(self.depth_mm) - 1)
        depth_mm, confidence = self.between_beams(at, jump_mm=jump_mm)
        confidence = np.where(np.isfinite(depth_mm), confidence, 0)
        return depth_mm.astype(np.float32), confidence.astype(np.float32)

    def points_mm(
        self, T_world_transducer: Float64[np.ndarray, "4 4"]
    ) -> Float64[np.ndarray, "points 3"]:
        """Return the surface points in world mm, in the order of the beams that found one."""
        found = self.found
        reach = self.depth_mm[found, None].astype(np.float64)
        plane = self.geometry.beam_origins_mm[found] + reach * self.geometry.beam_directions[found]
        flat = np.column_stack([plane, np.zeros(len(plane))])
        return transform_points(T_world_transducer, flat)
