"""How far each frame of a sweep speaks for what lies off its plane."""

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

_OVERLAP = 1.5  # of the distance to the frame before: a slab alone closes the gap behind it
_LEAST_VOXELS = 1.5  # thinner slabs would miss voxels


def elevation_gap_mm(
    T_world_before: Float64[np.ndarray, "4 4"],
    T_world_now: Float64[np.ndarray, "4 4"],
    geometry: ProbeGeometry,
) -> float:
    """Return how far the image's outermost points lie off the plane of the image before.

    Args:
        T_world_before: Pose of the array face at the frame before, mm.
        T_world_now: Pose at this frame.
        geometry: Geometry of the image.
    """
    ends = geometry.beam_points_mm[[0, 0, -1, -1], [0, -1, 0, -1]]
    corners = np.column_stack([ends, np.zeros(4)])
    seen_before = transform_points(invert_rigid(T_world_before) @ T_world_now, corners)
    return float(np.abs(seen_before[:, 2]).max())


class SliceThickness:
    """Adapt the slab of each frame to the distance between frames.

    A slab that is thicker than the gaps blurs edges along the sweep; a thinner one leaves holes.
    """

    def __init__(self, spacing_mm: float, most_mm: float) -> None:
        """Start a sweep.

        Args:
            spacing_mm: Edge of a voxel.
            most_mm: Largest half thickness, also that of the first frame.
        """
        self.least_mm = min(_LEAST_VOXELS * spacing_mm, most_mm)
        self.most_mm = most_mm
        self.T_last: Float64[np.ndarray, "4 4"] | None = None
        self.T_labelled: Float64[np.ndarray, "4 4"] | None = None
        self._last_mm = most_mm

    def __call__(
        self, frame: TrackedFrame, *, labelled: bool = False, again: bool = False
    ) -> float:
        """Return the half thickness (mm) of a frame's slab.

        A label is worth more than what a detector finds in the frames beside it: it speaks as far
        as to the label before, if that is not too far.

        Args:
            frame: The frame.
            labelled: Whether its surface comes from a label.
            again: It is the frame before once more, with its label.
        """
        if not again:
            self._last_mm = self._over_gap(self.T_last, frame, _OVERLAP)
            self.T_last = frame.T_world_transducer
        if not labelled:
            return self._last_mm
        before, self.T_labelled = self.T_labelled, frame.T_world_transducer
        return max(self._last_mm, self._over_gap(before, frame, 1.0))

    def _over_gap(
        self, before: Float64[np.ndarray, "4 4"] | None, frame: TrackedFrame, overlap: float
    ) -> float:
        if before is None:
            return self.most_mm
        gap_mm = elevation_gap_mm(before, frame.T_world_transducer, frame.geometry)
        return float(np.clip(overlap * gap_mm, self.least_mm, self.most_mm))
