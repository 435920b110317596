"""What every kind of map can do, and the settings that all share."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.surface import BeamSurface
from us_recon.settings import setting


@dataclass(frozen=True)
class FusionSettings:
    """What holds for every way to fuse surfaces."""

    half_thickness_mm: float = setting(
        3.0, "How far a frame speaks for voxels off its plane", unit="mm", minimum=0.1, maximum=20.0
    )
    min_weight: float = setting(
        0.1, "Weight of observations that a voxel needs for a surface", minimum=0.0, maximum=1000.0
    )


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
