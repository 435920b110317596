"""What every kind of map can do, and which kinds there are."""

from typing import Protocol, runtime_checkable

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.surface import BeamSurface


@runtime_checkable
class SurfaceMap(Protocol):
    """A volume into which surfaces are fused."""

    @property
    def grid(self) -> BlockGrid:
        """The voxels, all of the map's state."""

    def integrate(self, frame: TrackedFrame, surface: BeamSurface) -> int:
        """Take one frame's surface into the map and return how many voxels that changed."""

    def extract_mesh(self) -> Mesh:
        """Return the surface between observed voxels."""
