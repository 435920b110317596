"""What every kind of map can do, and the settings that all share."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.live_surface import LiveSurface
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.region import Shown
from us_recon.settings import setting


@dataclass(frozen=True)
class FusionSettings:
    """What holds for every way to fuse surfaces."""

    min_weight: float = setting(
        0.1, "Weight of observations that a voxel needs for a surface", minimum=0.0, maximum=1000.0
    )


@runtime_checkable
class SurfaceMap(Protocol):
    """A volume into which surfaces are fused."""

    @property
    def live(self) -> LiveSurface:
        """Its surface, kept up to date."""

    @property
    def grid(self) -> BlockGrid:
        """The voxels, all of the map's state."""

    def integrate(self, frame: TrackedFrame, surface: Shown, half_thickness_mm: float) -> int:
        """Take one frame's surface into the map and return how many voxels that changed.

        Args:
            frame: The frame, for its pose.
            surface: What it shows.
            half_thickness_mm: How far it speaks for voxels off its plane.
        """

    def extract_mesh(self, complete: bool = True) -> Mesh:
        """Return the surface between observed voxels.

        Args:
            complete: Mesh the whole map at once; without it only what changed since the last time
                is done anew. A map of voxels gives the same mesh either way.
        """

    def empty_voxels(self) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that were clearly seen to be empty, in front of all surfaces."""
