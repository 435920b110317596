"""A virtual patient made of a user's own CT or labelled volume.

Frame: the volume's RAS. Ultrasound comes from what the voxels say the tissue is, with textures of
our own; the volume itself is handed out as the MRI.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import map_coordinates

from us_recon.geometry.grid import Grid
from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.layers import mixed
from us_recon.simulation.patients.volume_approach import SIDES, approach, check_volume, holds_labels
from us_recon.simulation.patients.volume_tissues import (
    BLOCKING,
    GAS_HU,
    OUTSIDE,
    TissueFields,
    from_hounsfield,
    from_labels,
    label_tissues,
)
from us_recon.simulation.scene import Interface, Properties, StillScene

ABOVE_MM = 12.0  # how far the box reaches above the skin
DERMIS_MM = 1.5
TEXTURE_DB = {"muscle": 3.0, "fat": 3.0, "liver": 1.0, "kidney": 1.5}

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class VolumeSettings:
    """How a user's volume becomes a patient."""

    file: str = setting("", "The volume: NIfTI, MetaImage or NRRD.")
    content: str = setting(
        "auto", "What the voxels hold; auto looks.", choices=("auto", "hu", "labels")
    )
    tissues: str = setting(
        "", "Tissue of each label, as in 1=bone,2=liver; label 0 is outside unless it is named."
    )
    bone_hu: float = setting(
        250.0, "Bone begins at this Hounsfield value.", unit="HU", minimum=100.0, maximum=1500.0
    )
    side: str = setting(
        "anterior", "Side that the volume's centre is scanned from.", choices=tuple(SIDES)
    )
    approach_mm: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Point on or outside the patient; the same as the aim: from the side.",
        unit="mm",
    )  # fmt: skip
    aim_mm: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Point inside the patient that is looked at.", unit="mm"
    )
    along: tuple[float, ...] = setting((0.0, 0.0, 1.0), "Direction of the sweep, RAS.")
    width_mm: float = setting(
        120.0, "Width of the part that is scanned.", unit="mm", minimum=20.0, maximum=300.0
    )
    depth_mm: float = setting(
        110.0, "Depth of the part that is scanned.", unit="mm", minimum=20.0, maximum=250.0
    )
    spacing_mm: float = setting(
        1.0, "Spacing at which the tissues are found.", unit="mm", minimum=0.3, maximum=3.0
    )

    @classmethod
    def drawn(cls, seed: int) -> "VolumeSettings":  # noqa: ARG003 - there is nothing to draw
        """Return the defaults: a given patient is not drawn."""
        return cls()


@dataclass(frozen=True, eq=False)
class VolumePatient(StillScene):
    """A patient made of a volume.

    Attributes:
        volume: Hounsfield units or labels, RAS+ mm.
        settings: What the voxels hold and where the scan is.
        seed: Texture of the tissue.

    Raises:
        ConfigError: A label without tissue, or a direction that cannot be.
        InputError: A volume that cannot be used, or a scan that does not meet the patient.
    """

    volume: Volume
    settings: VolumeSettings = VolumeSettings()
    seed: int = 0
    name: str = "volume"

    def __post_init__(self) -> None:
        check_volume(self.volume)
        assert self.fields.solids  # made at once, so that errors come before the scan

    @cached_property
    def labelled(self) -> bool:
        """Whether the voxels hold labels."""
        if self.settings.content == "auto":
            return holds_labels(self.volume.data)
        return self.settings.content == "labels"

    @cached_property
    def _named(self) -> dict[int, str]:
        return label_tissues(self.volume.data, self.settings.tissues)

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """Just off the skin, y towards the aim, z along the sweep."""
        data, settings = self.volume.data, self.settings
        if self.labelled:
            free = [label for label, tissue in self._named.items() if tissue == OUTSIDE]
            solid = ~np.isin(data, free)
        else:
            solid = data > GAS_HU
        return approach(
            self.volume,
            solid,
            settings.approach_mm,
            settings.aim_mm,
            settings.along,
            settings.side,
        )

    @cached_property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """The box around the part that is scanned, as far as the volume reaches."""
        half = self.settings.width_mm / 2.0
        box = np.meshgrid([-half, half], [-ABOVE_MM, self.settings.depth_mm], [-half, half])
        local = np.array(box).reshape(3, -1).T
        T = self.T_scene_approach
        corners = local @ T[:3, :3].T + T[:3, 3]
        low, high = self.volume.corners_mm.min(axis=0), self.volume.corners_mm.max(axis=0)
        return (
            np.maximum(corners.min(axis=0), low - ABOVE_MM),
            np.minimum(corners.max(axis=0), high + ABOVE_MM),
        )

    @cached_property
    def fields(self) -> TissueFields:
        """The tissues of the part that is scanned."""
        grid = Grid.around(*self.bounds_mm, self.settings.spacing_mm)
        start = self.T_scene_approach[:3, 3]
        if self.labelled:
            return from_labels(self.volume, grid, start, self._named)
        return from_hounsfield(self.volume, grid, start, self.settings.bone_hu)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Skin and what the volume shows behind it."""
        return self.fields.interfaces

    @property
    def solids(self) -> tuple[str, ...]:
        """Bone where there is some, else the first tissue that was named, and so on."""
        return self.fields.solids

    @property
    def target(self) -> str:
        """The first of the solids."""
        return self.solids[0]

    @property
    def target_is_solid(self) -> bool:
        """Soft tissue is marked as a whole, of bone and gas only the visible face."""
        return self.target not in BLOCKING

    def _sample(self, field: Float32[np.ndarray, "i j k"], points_mm: Points) -> Values:
        grid = self.fields.grid
        index = (points_mm - np.asarray(grid.origin_mm, dtype=np.float32)) / grid.spacing_mm
        return map_coordinates(field, index.T, order=1, mode="nearest").astype(np.float32)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the skin, negative in the patient."""
        low, high = self.bounds_mm
        held = np.clip(points_mm, low, high)
        distance = self._sample(self.fields.skin_mm, held.astype(np.float32)).astype(np.float64)
        return distance + np.linalg.norm(points_mm - held, axis=1)

    def properties(self, points_mm: Points, frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        fields = self.fields
        depth = -self._sample(fields.skin_mm, points_mm)
        fine = smooth_noise(points_mm, 2.0, self.seed + 11)
        coarse = smooth_noise(points_mm, 6.0, self.seed + 12)
        grain = (np.float32(0.8) * fine + np.float32(0.6) * coarse).astype(np.float32)
        layers = [
            (-self._sample(field, points_mm), name, np.float32(TEXTURE_DB.get(name, 0.0)) * grain)
            for name, field in fields.tissues
        ]
        layers = [(np.minimum(behind, depth), name, db) for behind, name, db in layers]
        dermis = (np.minimum(depth, np.float32(DERMIS_MM) - depth), "skin", 0.0 * grain)
        level, loss = mixed(len(points_mm), (layers[0], dermis, *layers[1:]), frequency_mhz)
        level_sets = [self._sample(field, points_mm) for field in fields.level_sets_mm]
        return Properties(level, loss, np.stack(level_sets, axis=1))

    def mri(self) -> Volume:
        """Return the volume itself."""
        return self.volume
