"""A test phantom: uniform tissue, with a plate in it or without, to check the scanner by."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.imaging.volume import Volume
from us_recon.simulation.scene import Interface, Properties, StillScene
from us_recon.simulation.tissue import TISSUES

EDGE_MM = 1.0  # width of the transition into the plate: it keeps its thickness on the grid
SOFT_PLATE = Interface("plate", 0.01, roughness=0.0, patchiness_db=0.0)


@dataclass(frozen=True)
class Phantom(StillScene):
    """Uniform tissue from y = 0 down, with a flat plate at some depth.

    Attributes:
        attenuation_db_cm_mhz: One-way attenuation, linear in frequency.
        backscatter_db: Speckle level.
        plate: Reflecting plate, or None.
        plate_depth_mm: Depth of its upper face at x = 0.
        plate_tilt_deg: Turn of the plate about z.
        plate_half_width_mm: It reaches this far from x = 0 to either side.
        plate_thickness_mm: Thickness.
        plate_tissue: What it is made of, for the attenuation inside.
        half_mm: Half the width of the phantom.
        depth_mm: Its depth.
        target_is_solid: Whether a label marks the inside of the plate, or its upper face.
    """

    attenuation_db_cm_mhz: float = 0.5
    backscatter_db: float = 0.0
    plate: Interface | None = None
    plate_depth_mm: float = 25.0
    plate_tilt_deg: float = 0.0
    plate_half_width_mm: float = 200.0
    plate_thickness_mm: float = 8.0
    plate_tissue: str = "bone"
    half_mm: float = 35.0
    depth_mm: float = 70.0
    name: str = "phantom"
    target_is_solid: bool = False

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The plate, where there is one."""
        return (self.plate,) if self.plate else ()

    @property
    def solids(self) -> tuple[str, ...]:
        """The plate's name, where there is one."""
        return (self.plate.name,) if self.plate else ()

    @property
    def target(self) -> str:
        """The plate's name, where there is one."""
        return self.plate.name if self.plate else ""

    @property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """The block."""
        low = np.array([-self.half_mm, -2.0, -self.half_mm])
        return low, np.array([self.half_mm, self.depth_mm, self.half_mm])

    @property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """The middle of the upper face."""
        return np.eye(4)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the height above the upper face."""
        return np.asarray(-points_mm[:, 1])

    def properties(self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        count = len(points_mm)
        level = np.full(count, 10.0 ** (self.backscatter_db / 20.0), dtype=np.float32)
        loss = np.full(count, self.attenuation_db_cm_mhz * frequency_mhz, dtype=np.float32)
        if self.plate is None:
            return Properties(level, loss, np.zeros((count, 0), dtype=np.float32))
        distance = self._plate_distance_mm(points_mm)
        tissue = TISSUES[self.plate_tissue]
        share = np.clip(0.5 - distance / np.float32(EDGE_MM), 0.0, 1.0)
        level += share * (np.float32(tissue.backscatter_amplitude) - level)
        loss += share * (np.float32(tissue.attenuation_at(frequency_mhz)) - loss)
        return Properties(level, loss, distance[:, None])

    def _plate_distance_mm(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, " n"]:
        tilt = np.radians(self.plate_tilt_deg)
        x, y = points_mm[:, 0], points_mm[:, 1] - np.float32(self.plate_depth_mm)
        below = y * np.float32(np.cos(tilt)) - x * np.float32(np.sin(tilt))
        half = np.float32(self.plate_thickness_mm / 2.0)
        beside = np.abs(x) - np.float32(self.plate_half_width_mm)
        return np.asarray(np.maximum(np.abs(below - half) - half, beside), dtype=np.float32)

    def mri(self) -> Volume:
        """Return a volume of ones: a uniform block."""
        low, high = self.bounds_mm
        T = np.eye(4)
        T[:3, 3] = low
        return Volume(np.ones(np.ceil(high - low).astype(int) + 1, dtype=np.float32), T)
