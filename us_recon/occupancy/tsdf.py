"""A truncated signed distance field along the beams (Curless and Levoy 1996)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid, chosen_voxels
from us_recon.occupancy.live_surface import LiveSurface
from us_recon.occupancy.maps import FusionSettings
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.projection import observe
from us_recon.occupancy.region import Shown
from us_recon.occupancy.surface import BeamSurface
from us_recon.settings import setting

_EMPTY = 0.5  # of the truncation in front of the surface: clear of it


@dataclass(frozen=True)
class TsdfSettings(FusionSettings):
    """How distances are fused."""

    truncation_mm: float = setting(
        3.0, "Distances beyond this are cut off", unit="mm", minimum=0.1, maximum=50.0
    )
    free_weight: float = setting(
        0.1, "Weight of space further in front than the truncation", minimum=0.0, maximum=1.0
    )
    max_weight: float = setting(
        50.0, "Weight at which a voxel stops to gain inertia", minimum=1.0, maximum=1e6
    )


class TsdfMap:
    """Fuse distances along the beams; the surface is where their mean is zero.

    A sample is weighted alike in front of and behind the surface, so that noise in depth does not
    shift it. Nothing further behind than the truncation is touched: it lies in shadow.
    """

    def __init__(self, grid: BlockGrid, settings: TsdfSettings | None = None) -> None:
        self.grid = grid
        self.settings = settings or TsdfSettings()
        self.live = LiveSurface(grid.spacing_mm, self.settings.min_weight)

    def integrate(self, frame: TrackedFrame, surface: Shown, half_thickness_mm: float) -> int:
        """Take one frame's surface into the map (see `SurfaceMap`)."""
        settings = self.settings
        seen = observe(
            frame.T_world_transducer,
            surface,
            self.grid.spacing_mm,
            half_thickness_mm=half_thickness_mm,
            behind_mm=settings.truncation_mm,
            in_front_mm=np.inf if settings.free_weight > 0 else settings.truncation_mm,
        )
        at = self.grid.locate(seen.voxels)
        held = at >= 0
        at, front_mm, weight = at[held], seen.front_mm[held], seen.weight[held]
        distance = np.clip(front_mm / np.float32(settings.truncation_mm), -1, 1)
        if isinstance(surface, BeamSurface):  # a region knows inside and outside alike
            far = front_mm > settings.truncation_mm
            weight = np.where(far, weight * np.float32(settings.free_weight), weight)
        before = self.grid.weight[at]
        total = before + weight
        self.grid.value[at] = (self.grid.value[at] * before + distance * weight) / total
        self.grid.weight[at] = np.minimum(total, np.float32(settings.max_weight))
        return len(at)

    def extract_mesh(self, complete: bool = True) -> Mesh:
        """Return the surface between observed voxels (see `SurfaceMap`)."""
        if not complete:
            return self.live.update(self.grid.take_touched(), self.grid.arrays)
        return extract_surface(
            self.grid.arrays(), self.grid.spacing_mm, min_weight=self.settings.min_weight
        )

    def empty_voxels(self) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that were clearly seen to be empty."""
        arrays = self.grid.arrays()
        known = arrays.weight > self.settings.min_weight
        return chosen_voxels(arrays.blocks, known & (arrays.value > _EMPTY))
