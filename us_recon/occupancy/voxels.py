"""A log-odds occupancy map that knows shadow from free space (after Moravec and Elfes 1985)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid, GridArrays, chosen_voxels
from us_recon.occupancy.live_surface import LiveSurface
from us_recon.occupancy.maps import FusionSettings
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.projection import observe
from us_recon.occupancy.region import Shown
from us_recon.settings import setting

_EMPTY = -1.0  # log-odds: more than one certain beam says so


@dataclass(frozen=True)
class LogOddsSettings(FusionSettings):
    """How evidence for and against occupancy adds up."""

    step: float = setting(
        0.85, "Log-odds that one certain beam adds or takes", minimum=0.01, maximum=10.0
    )
    bound: float = setting(6.0, "Log-odds at which a voxel is certain", minimum=0.1, maximum=100.0)
    ramp_mm: float = setting(
        1.5, "Half width of the transition at the surface", unit="mm", minimum=0.05, maximum=20.0
    )
    wall_mm: float = setting(
        3.0, "Depth behind the surface that is occupied", unit="mm", minimum=0.1, maximum=50.0
    )


class LogOddsMap:
    """Add up evidence: free in front of the surface, occupied at it, unknown in its shadow.

    Free and occupied weigh alike. With the 0.85 against 0.4 that laser maps use, the surface moves
    towards the probe with every frame.
    """

    def __init__(self, grid: BlockGrid, settings: LogOddsSettings | None = None) -> None:
        self.grid = grid
        self.settings = settings or LogOddsSettings()
        self.live = LiveSurface(grid.spacing_mm, self.settings.min_weight)

    def integrate(self, frame: TrackedFrame, surface: Shown, half_thickness_mm: float) -> int:
        """Take one frame's surface into the map (see `SurfaceMap`)."""
        settings = self.settings
        seen = observe(
            frame.T_world_transducer,
            surface,
            self.grid.spacing_mm,
            half_thickness_mm=half_thickness_mm,
            behind_mm=settings.wall_mm,
        )
        at = self.grid.locate(seen.voxels)
        held = at >= 0
        at, front_mm, weight = at[held], seen.front_mm[held], seen.weight[held]
        occupied = -np.clip(front_mm / np.float32(settings.ramp_mm), -1, 1)
        log_odds = self.grid.value[at] + np.float32(settings.step) * weight * occupied
        self.grid.value[at] = np.clip(log_odds, -settings.bound, settings.bound)
        self.grid.weight[at] += weight
        return len(at)

    def extract_mesh(self, complete: bool = True) -> Mesh:
        """Return the surface of even odds between observed voxels (see `SurfaceMap`)."""
        if not complete:
            return self.live.update(self.grid.take_touched(), self._arrays)
        return extract_surface(
            self._arrays(), self.grid.spacing_mm, min_weight=self.settings.min_weight
        )

    def _arrays(self, only: Int64[np.ndarray, " n"] | None = None) -> GridArrays:
        """Return the content of blocks with values below 0 inside."""
        arrays = self.grid.arrays(only)
        return replace(arrays, value=-arrays.value)

    def occupied_voxels(
        self, only: Int64[np.ndarray, " blocks"] | None = None
    ) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that are more likely occupied than not.

        Args:
            only: Keys of the blocks to look at; all unless told.
        """
        arrays = self.grid.arrays(only)
        known = arrays.weight > self.settings.min_weight
        return chosen_voxels(arrays.blocks, known & (arrays.value > 0))

    def empty_voxels(self) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that were clearly seen to be empty."""
        arrays = self.grid.arrays()
        known = arrays.weight > self.settings.min_weight
        return chosen_voxels(arrays.blocks, known & (arrays.value < _EMPTY))
