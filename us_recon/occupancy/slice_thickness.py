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
        self.last_mm = most_mm
        """Half thickness of the frame before."""

    def __call__(self, frame: TrackedFrame) -> float:
        """Return the half thickness (mm) of the next frame's slab."""
        before, self.T_last = self.T_last, frame.T_world_transducer
        self.last_mm = self.most_mm
        if before is not None:
            gap_mm = elevation_gap_mm(before, frame.T_world_transducer, frame.geometry)
            self.last_mm = float(np.clip(_OVERLAP * gap_mm, self.least_mm, self.most_mm))
        return self.last_mm
