"""A virtual patient: a long bone, with a second one beside it, in the soft tissue of a limb.

Frame: RAS, z along the limb, origin on the axis of the main bone; its crest points to the front,
from where it is scanned. It is built like the shank of a right leg. Shapes and sizes are set by
us, near an adult's in section; the bones are shorter, so that one sweep can reach both ends.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.layers import (
    BODY_WALL,
    SEPTA,
    bone_interface,
    mixed,
    septa_mm,
    skin_layers_mm,
)
from us_recon.simulation.patients.mri import MriTissue, synthesise_t1
from us_recon.simulation.patients.shaft import Shaft
from us_recon.simulation.scene import Interface, Properties, StillScene

SEPTA_PITCH_MM = 10.0
LIMB_ASIDE_MM = 8.0  # the bone lies towards the inner side of the limb
MEMBRANE_MM = 0.5  # half thickness of the membrane between the bones
SEEN_MM = 62.0  # depth of the part that can be scanned


@dataclass(frozen=True)
class LongBoneSettings:
    """One member of the family of limbs."""

    bone_length_mm: float = setting(
        220.0, "Length of the bones.", unit="mm", minimum=120.0, maximum=400.0
    )
    radius_mm: float = setting(
        12.0, "Radius of the main bone at mid shaft.", unit="mm", minimum=5.0, maximum=20.0
    )
    end_radius_mm: float = setting(
        22.0, "Radius of its ends, without the condyles.", unit="mm", minimum=8.0, maximum=32.0
    )
    crest: float = setting(
        0.45, "How triangular its shaft is, 0 for a round one.", minimum=0.0, maximum=1.0
    )
    bow_mm: float = setting(5.0, "Bend of its axis.", unit="mm", minimum=0.0, maximum=20.0)
    second_bone: bool = setting(True, "Whether a thin bone lies beside it.")
    limb_radius_mm: float = setting(
        46.0, "Radius of the limb at mid shaft.", unit="mm", minimum=36.0, maximum=90.0
    )
    cover_mm: float = setting(
        12.0, "Soft tissue in front of the bone.", unit="mm", minimum=5.0, maximum=30.0
    )
    fat_mm: float = setting(3.5, "Fat under the skin.", unit="mm", minimum=1.0, maximum=20.0)
    skin_mm: float = setting(1.5, "Thickness of the skin.", unit="mm", minimum=0.5, maximum=4.0)
    mri_mm: float = setting(1.0, "Voxel edge of the MRI.", unit="mm", minimum=0.5, maximum=5.0)

    @classmethod
    def drawn(cls, seed: int) -> "LongBoneSettings":
        """Draw one limb of the population."""
        rng = np.random.default_rng([seed, 10])
        radius = float(rng.uniform(10.5, 13.5))
        return cls(
            bone_length_mm=float(rng.uniform(205.0, 235.0)),
            radius_mm=radius,
            end_radius_mm=radius * float(rng.uniform(1.7, 2.0)),
            crest=float(rng.uniform(0.3, 0.6)),
            bow_mm=float(rng.uniform(2.0, 8.0)),
            limb_radius_mm=float(rng.uniform(43.0, 52.0)),
            cover_mm=float(rng.uniform(9.0, 16.0)),
            fat_mm=float(rng.uniform(2.5, 6.0)),
        )


@dataclass(frozen=True)
class VirtualLongBone(StillScene):
    """A limb, to be scanned from the front along its axis.

    Attributes:
        settings: Shape.
        seed: Texture of the soft tissue.
    """

    settings: LongBoneSettings = LongBoneSettings()
    seed: int = 0
    name: str = "long_bone"
    solids: tuple[str, ...] = ("bone",)
    target: str = "bone"
    target_is_solid: bool = False

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Skin, both faces of the fat, muscle septa and both bones as one."""
        return (*BODY_WALL, SEPTA, bone_interface())

    @cached_property
    def main_bone(self) -> Shaft:
        """The bone on whose axis the origin lies."""
        settings = self.settings
        return Shaft(
            centre_mm=(0.0, 0.0),
            half_length_mm=settings.bone_length_mm / 2.0,
            radius_mm=settings.radius_mm,
            end_radius_mm=settings.end_radius_mm,
            crest=settings.crest,
            bow_mm=(-0.6 * settings.bow_mm, 0.8 * settings.bow_mm),
            condyles=True,
        )

    @cached_property
    def second_bone(self) -> Shaft:
        """The thin bone, behind and outside of the main one."""
        settings = self.settings
        aside = settings.end_radius_mm + 0.9 * settings.radius_mm
        return Shaft(
            centre_mm=(aside, -0.7 * settings.radius_mm),
            half_length_mm=0.46 * settings.bone_length_mm,
            radius_mm=0.48 * settings.radius_mm,
            end_radius_mm=0.75 * settings.radius_mm,
            crest=0.5 * settings.crest,
            bow_mm=(-0.5 * settings.bow_mm - 2.0, 0.3 * settings.bow_mm),
        )

    @cached_property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """The front of the limb over the bones' whole length."""
        heights = np.linspace(-0.5, 0.5, 41, dtype=np.float32) * self.settings.bone_length_mm
        front = self._front_mm(heights.astype(np.float32))
        half = self.settings.bone_length_mm / 2.0 + 6.0
        return (
            np.array([LIMB_ASIDE_MM - 50.0, float(front.min()) - SEEN_MM, -half]),
            np.array([LIMB_ASIDE_MM + 50.0, float(front.max()) + 6.0, half]),
        )

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """From the front: x to the patient's left, depth to the back, sweep upwards."""
        T = np.diag([-1.0, -1.0, 1.0, 1.0])
        T[1, 3] = float(self._front_mm(np.zeros(1, dtype=np.float32))[0]) + 2.0
        return T

    def bone_distance_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the signed distance to the nearest bone."""
        distance = self.main_bone.distance_mm(points_mm)
        if not self.settings.second_bone:
            return distance
        return np.minimum(distance, self.second_bone.distance_mm(points_mm))

    def _front_mm(self, z_mm: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """Return the y of the skin in front of the main bone."""
        return self.main_bone.front_mm(z_mm) + np.float32(self.settings.cover_mm)

    def depth_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the depth below the skin of a limb that is round and wider above."""
        x, y, z = points_mm.T
        along = z / np.float32(self.settings.bone_length_mm)
        radius = np.float32(self.settings.limb_radius_mm) * (1.0 + 0.15 * along)
        centre = self._front_mm(z) - radius
        wave = 0.5 * smooth_noise(points_mm, 35.0, self.seed + 11)
        depth = radius - np.hypot(x - np.float32(LIMB_ASIDE_MM), y - centre) + wave
        return np.asarray(depth, dtype=np.float32)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the limb's skin, negative in it."""
        return -self.depth_mm(points_mm.astype(np.float32)).astype(np.float64)

    def _layers_mm(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Return the depth below the skin, below the dermis and below the fat."""
        depth = self.depth_mm(points_mm)
        dermis, deep = skin_layers_mm(
            depth, points_mm, self.settings.skin_mm, self.settings.fat_mm, self.seed + 12
        )
        return depth, dermis, deep

    def properties(self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        depth, dermis, deep = self._layers_mm(points_mm)
        bone = self.bone_distance_mm(points_mm)
        membrane = self._membrane_mm(points_mm)
        fibres = smooth_noise(points_mm, (1.5, 1.5, 9.0), self.seed + 13)
        bundles = smooth_noise(points_mm, (4.0, 4.0, 25.0), self.seed + 14)
        lobules = smooth_noise(points_mm, (5.0, 2.5, 5.0), self.seed + 15)
        level, loss = mixed(
            len(points_mm),
            (
                (depth, "skin", 0.0),
                (dermis, "fat", 3.0 * lobules),
                (deep, "muscle", 3.0 * fibres + 2.0 * bundles),
                (-membrane, "ligament", 0.0),
                (-bone, "bone", 0.0),
            ),
            frequency_mhz,
        )
        septa = np.minimum(self._septa_mm(points_mm, deep), membrane)
        return Properties(level, loss, np.stack([-depth, -dermis, -deep, septa, bone], axis=1))

    def _septa_mm(
        self, points_mm: Float32[np.ndarray, "n 3"], deep_mm: Float32[np.ndarray, " n"]
    ) -> Float32[np.ndarray, " n"]:
        """Return a level set of wavy sheets between muscle bundles, roughly along the skin."""
        wander = smooth_noise(points_mm, (11.0, 11.0, 40.0), self.seed + 16)
        turn = deep_mm + np.float32(0.45) * np.abs(points_mm[:, 0]) + 3.0 * wander
        return septa_mm(turn.astype(np.float32), deep_mm - np.float32(2.0), SEPTA_PITCH_MM)

    def _membrane_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the distance to the membrane between the bones' axes."""
        if not self.settings.second_bone:
            return np.full(len(points_mm), 10.0, dtype=np.float32)
        z = points_mm[:, 2]
        first, second = (np.stack(b.axis_mm(z), 1) for b in (self.main_bone, self.second_bone))
        axis = second - first
        from_first = points_mm[:, :2] - first
        share = np.clip((from_first * axis).sum(axis=1) / (axis**2).sum(axis=1), 0.0, 1.0)
        distance = np.linalg.norm(from_first - share[:, None] * axis, axis=1)
        beyond = np.abs(z) - np.float32(self.second_bone.half_length_mm - 10.0)
        return np.maximum(distance - np.float32(MEMBRANE_MM), beyond).astype(np.float32)

    def mri(self) -> Volume:
        """Return a synthetic T1-weighted MRI of the same anatomy."""
        return synthesise_t1(self.bounds_mm, self._mri_tissue, self.seed, self.settings.mri_mm)

    def _mri_tissue(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> list[tuple[Float32[np.ndarray, " n"], MriTissue]]:
        """Return tissues from the outside in, each with the depth below its surface."""
        depth, dermis, deep = self._layers_mm(points_mm)
        bone = self.bone_distance_mm(points_mm)
        cortex = 4.0 - 2.7 * self.main_bone.flare(points_mm[:, 2])
        return [
            (depth, MriTissue.SKIN),
            (dermis, MriTissue.FAT),
            (deep, MriTissue.MUSCLE),
            (-bone, MriTissue.CORTICAL_BONE),
            ((-bone - cortex).astype(np.float32), MriTissue.MARROW),
        ]
