"""A virtual patient: a liver with vessels and gallbladder, scanned from below the ribs.

Frame: RAS, x to the right, y to the front, z up, origin on the skin under the probe. Behind the
liver the diaphragm borders on the lung, whose air reflects all sound.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.layers import BODY_WALL, mixed, skin_layers_mm
from us_recon.simulation.patients.liver_shape import DIAPHRAGM_MM, WALL_MM, UpperAbdomen
from us_recon.simulation.patients.mri import MriTissue, synthesise_t1
from us_recon.simulation.scene import Interface, Properties, StillScene
from us_recon.simulation.tissue import reflection_coefficient

TILT_DEG = 11.0  # of the approach, upwards
SKIN_RADII_MM = (170.0, 420.0)  # of the abdomen's front, across and along
LEAST_MUSCLE_MM = 4.0  # where the fat is thick
WALL_REST_MM = 6.0  # the wall goes on in front of the lung
PORTAL_WALL_MM, GALLBLADDER_WALL_MM = 1.7, 1.6

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class LiverSettings:
    """One member of the family of upper abdomens."""

    size: float = setting(1.0, "Size of the organs.", minimum=0.7, maximum=1.2)
    fat_mm: float = setting(9.0, "Fat under the skin.", unit="mm", minimum=2.0, maximum=40.0)
    skin_mm: float = setting(1.8, "Thickness of the skin.", unit="mm", minimum=0.5, maximum=4.0)
    muscle_mm: float = setting(
        9.0, "Muscle of the abdominal wall.", unit="mm", minimum=3.0, maximum=20.0
    )
    gallbladder_radius_mm: float = setting(
        13.0, "Radius of the gallbladder.", unit="mm", minimum=6.0, maximum=20.0
    )
    vessel_scale: float = setting(1.0, "Size of the vessels.", minimum=0.6, maximum=1.5)
    generations: int = setting(5, "How often a vessel splits.", minimum=0, maximum=6)
    mri_mm: float = setting(1.5, "Voxel edge of the MRI.", unit="mm", minimum=0.7, maximum=5.0)

    @classmethod
    def drawn(cls, seed: int) -> "LiverSettings":
        """Draw one abdomen of the population."""
        rng = np.random.default_rng([seed, 13])
        return cls(
            size=float(rng.uniform(0.92, 1.04)),
            fat_mm=float(rng.uniform(5.0, 16.0)),
            muscle_mm=float(rng.uniform(7.0, 11.0)),
            gallbladder_radius_mm=float(rng.uniform(10.5, 15.0)),
            vessel_scale=float(rng.uniform(0.9, 1.15)),
        )


@dataclass(frozen=True)
class VirtualLiver(StillScene):
    """An upper abdomen, to be scanned by tilting the probe below the ribs.

    Attributes:
        settings: Shape.
        seed: Course of the vessels and texture of the tissue.
    """

    settings: LiverSettings = LiverSettings()
    seed: int = 0
    name: str = "liver"
    solids: tuple[str, ...] = ("vessels", "gallbladder", "capsule")
    target: str = "vessels"
    target_is_solid: bool = True

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """The wall's layers, the liver's surface, vessels, gallbladder and the lung's air."""
        air = abs(reflection_coefficient("muscle", "air"))
        return (
            *BODY_WALL,
            Interface("capsule", 0.02, exponent=5.0, roughness=0.3, patchiness_db=4.0),
            Interface("vessels", 0.006, exponent=6.0, roughness=0.4, patchiness_db=4.0),
            Interface("gallbladder", 0.03, exponent=5.0, roughness=0.3, patchiness_db=3.0),
            Interface(
                "diaphragm",
                air,
                3.0,
                roughness=0.25,
                patchiness_db=3.0,
                blocks=True,
                haze_db=-3.0,
                haze_db_cm=8.0,
            ),
        )

    @cached_property
    def organs(self) -> UpperAbdomen:
        """The shape behind the wall, in its own coordinates."""
        settings = self.settings
        return UpperAbdomen(
            settings.gallbladder_radius_mm,
            settings.vessel_scale,
            settings.generations,
            self.seed,
        )

    @property
    def wall_mm(self) -> float:
        """Thickness of the abdominal wall."""
        return self.settings.skin_mm + self.settings.fat_mm + self.settings.muscle_mm

    @cached_property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """From the front of the abdomen to behind the diaphragm."""
        back = -self.wall_mm - 132.0 * self.settings.size
        return np.array([-92.0, back, -42.0]), np.array([92.0, 6.0, 84.0])

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """From the front and below: x to the patient's left, sweep upwards."""
        tilt = np.radians(TILT_DEG)
        T = np.eye(4)
        T[:3, 0] = [-1.0, 0.0, 0.0]
        T[:3, 1] = [0.0, -np.cos(tilt), np.sin(tilt)]
        T[:3, 2] = [0.0, np.sin(tilt), np.cos(tilt)]
        T[1, 3] = 2.0
        return T

    def depth_mm(self, points_mm: Points) -> Values:
        """Return the depth below the skin."""
        x, y, z = points_mm.T
        across, along = SKIN_RADII_MM
        skin = -(x**2) / np.float32(2.0 * across) - z**2 / np.float32(2.0 * along)
        wave = 0.7 * smooth_noise(points_mm, (45.0, np.inf, 45.0), self.seed + 11)
        return np.asarray(skin + wave - y, dtype=np.float32)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the skin, negative in the patient."""
        return -self.depth_mm(points_mm.astype(np.float32)).astype(np.float64)

    def _organs_mm(self, points_mm: Points, inner_mm: Values) -> dict[str, Values]:
        """Return the signed distances of the organs, given the depth behind the wall.

        Of the diaphragm's muscle it is the depth within.
        """
        size = np.float32(self.settings.size)
        local = points_mm.copy()
        local[:, 1] += np.float32(self.wall_mm)
        local /= size
        local[:, 1] -= np.float32(WALL_MM)
        organs = self.organs
        dome = organs.dome_mm(local)
        lung = np.maximum(organs.lung_mm(local, dome) * size, WALL_REST_MM - inner_mm)
        liver = np.maximum(organs.liver_mm(local, dome) * size, -inner_mm)
        portal, hepatic = (tree.distance_mm(local) for tree in (organs.portal, organs.hepatic))
        kidney, sinus = organs.kidney_mm(local)
        half = np.float32(DIAPHRAGM_MM / 2.0)
        shell = half - np.abs(dome * size + half)
        found = {
            "liver": liver,
            "portal": portal * size,
            "vessels": np.minimum(portal, hepatic) * size,
            "gallbladder": organs.gallbladder_mm(local) * size,
            "kidney": np.maximum(kidney * size, 2.0 - liver),
            "sinus": sinus * size,
            "diaphragm": np.minimum(shell, inner_mm),
            "lung": lung,
        }
        return {name: value.astype(np.float32) for name, value in found.items()}

    def _layers_mm(self, points_mm: Points) -> tuple[Values, Values, Values, Values]:
        """Return the depth below the skin, the dermis, the fat and the muscle of the wall."""
        depth = self.depth_mm(points_mm)
        dermis, deep = skin_layers_mm(
            depth, points_mm, self.settings.skin_mm, self.settings.fat_mm, self.seed + 12
        )
        inner = depth - np.float32(self.wall_mm)
        return depth, dermis, np.maximum(deep, inner + np.float32(LEAST_MUSCLE_MM)), inner

    def properties(self, points_mm: Points, frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        depth, dermis, deep, inner = self._layers_mm(points_mm)
        organ = self._organs_mm(points_mm, inner)
        lobules = 3.0 * smooth_noise(points_mm, (6.0, 3.0, 6.0), self.seed + 13)
        fibres = 3.0 * smooth_noise(points_mm, (7.0, 1.6, 1.6), self.seed + 14)
        lobes = 1.0 * smooth_noise(points_mm, 5.0, self.seed + 15)
        portal, bile = organ["portal"], organ["gallbladder"]
        level, loss = mixed(
            len(points_mm),
            (
                (depth, "skin", 0.0),
                (dermis, "fat", lobules),
                (deep, "muscle", fibres),
                (inner, "fat", 5.0 + lobules),
                (organ["diaphragm"], "muscle", 0.0),
                (-organ["liver"], "liver", lobes),
                (-organ["kidney"], "kidney", 0.5 * fibres),
                (-organ["sinus"], "fat", 9.0 + lobules),
                (PORTAL_WALL_MM - portal, "vessel_wall", 0.0),
                (GALLBLADDER_WALL_MM - bile, "gallbladder", 0.0),
                (-organ["vessels"], "blood", 0.0),
                (-bile, "bile", 0.0),
                (-organ["lung"], "air", 0.0),
            ),
            frequency_mhz,
        )
        level_sets = [-depth, -dermis, -deep, organ["liver"], organ["vessels"], bile, organ["lung"]]
        return Properties(level, loss, np.stack(level_sets, axis=1))

    def mri(self) -> Volume:
        """Return a synthetic T1-weighted MRI of the same anatomy."""
        return synthesise_t1(self.bounds_mm, self._mri_tissue, self.seed, self.settings.mri_mm)

    def _mri_tissue(self, points_mm: Points) -> list[tuple[Values, MriTissue]]:
        """Return tissues from the outside in, each with the depth below its surface."""
        depth, dermis, deep, inner = self._layers_mm(points_mm)
        organ = self._organs_mm(points_mm, inner)
        return [
            (depth, MriTissue.SKIN),
            (dermis, MriTissue.FAT),
            (deep, MriTissue.MUSCLE),
            (inner, MriTissue.FAT),
            (organ["diaphragm"], MriTissue.MUSCLE),
            (-organ["liver"], MriTissue.LIVER),
            (-organ["kidney"], MriTissue.KIDNEY),
            (-organ["sinus"], MriTissue.FAT),
            (-organ["vessels"], MriTissue.BLOOD),
            (-organ["gallbladder"], MriTissue.CSF),
            (-organ["lung"], MriTissue.AIR),
        ]
