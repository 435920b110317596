"""A virtual patient: lumbar vertebrae of analytic shape under muscle, fat and skin.

Frame: RAS, x to the right, y to the front, z up, origin at the canal of the middle vertebra. The
back is at negative y. Sizes: lumbar morphometry of Panjabi et al., Spine 17 (1992) 299, and Berry
et al., Spine 12 (1987) 362, rounded.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.layers import BODY_WALL, SEPTA, bone_interface, mixed, septa_mm
from us_recon.simulation.patients.mri import MriTissue, synthesise_t1
from us_recon.simulation.patients.sdf import capsule, elliptic_cylinder, rounded_box, smooth_union
from us_recon.simulation.scene import Interface, Properties, StillScene

SEPTA_PITCH_MM = 7.0


@dataclass(frozen=True)
class SpineSettings:
    """One member of the family of lumbar spines."""

    vertebrae: int = setting(3, "Number of vertebrae.", minimum=1, maximum=5)
    scale: float = setting(1.0, "Size of the bones.", minimum=0.6, maximum=1.5)
    spacing_mm: float = setting(37.0, "Distance between vertebrae.", unit="mm", minimum=25.0)
    process_length_mm: float = setting(
        24.0, "Length of the spinous process.", unit="mm", minimum=10.0, maximum=40.0
    )
    transverse_span_mm: float = setting(
        84.0, "Span of the transverse processes.", unit="mm", minimum=50.0, maximum=110.0
    )
    fat_mm: float = setting(5.0, "Fat under the skin.", unit="mm", minimum=1.0, maximum=40.0)
    skin_mm: float = setting(1.8, "Thickness of the skin.", unit="mm", minimum=0.5, maximum=5.0)
    lordosis_deg: float = setting(4.0, "Tilt from one vertebra to the next.", unit="deg")
    mri_mm: float = setting(1.0, "Voxel edge of the MRI.", unit="mm", minimum=0.5, maximum=5.0)

    @classmethod
    def drawn(cls, seed: int) -> "SpineSettings":
        """Draw one spine of the population."""
        rng = np.random.default_rng([seed, 7])
        scale = float(rng.uniform(0.92, 1.08))
        return cls(
            scale=scale,
            spacing_mm=37.0 * scale,
            process_length_mm=float(rng.uniform(20.0, 28.0)),
            transverse_span_mm=float(rng.uniform(76.0, 92.0)),
            fat_mm=float(rng.uniform(3.0, 8.0)),
            lordosis_deg=float(rng.uniform(1.0, 7.0)),
        )


@dataclass(frozen=True)
class VirtualSpine(StillScene):
    """Vertebrae in soft tissue, to be scanned from the back.

    Attributes:
        settings: Shape.
        seed: Texture of the soft tissue.
    """

    settings: SpineSettings = SpineSettings()
    seed: int = 0
    name: str = "spine"
    solids: tuple[str, ...] = ("bone",)
    target: str = "bone"
    target_is_solid: bool = False

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Skin, both faces of the fat, muscle septa and bone."""
        return (*BODY_WALL, SEPTA, bone_interface())

    @cached_property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """The back's surface to the vertebral bodies, between the outer transverse processes."""
        half_height = self.settings.vertebrae * self.settings.spacing_mm / 2.0 + 12.0
        back = self.skin_y_mm(np.array([[30.0, 0.0, 0.0]], dtype=np.float32))[0]
        return (
            np.array([-62.0, float(back) - 8.0, -half_height]),
            np.array([62.0, 48.0, half_height]),
        )

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """From the back: x to the patient's right, depth to the front, sweep upwards."""
        T = np.eye(4)
        T[1, 3] = self.skin_y_mm(np.zeros((1, 3), dtype=np.float32))[0] - 2.0
        return T

    def bone_distance_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the signed distance to the nearest vertebra."""
        settings = self.settings
        nearest = np.full(len(points_mm), 1e3, dtype=np.float32)
        for number in range(settings.vertebrae):
            level = number - (settings.vertebrae - 1) / 2.0
            centre = np.array([0.0, 0.0, level * settings.spacing_mm], dtype=np.float32)
            local = (points_mm - centre) / np.float32(settings.scale)
            tilt = np.radians(settings.lordosis_deg * level)
            cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
            y = local[:, 1] * cosine + local[:, 2] * sine
            z = local[:, 2] * cosine - local[:, 1] * sine
            local = np.stack([local[:, 0], y, z], axis=1)
            near = np.flatnonzero(np.abs(z) < 34.0)
            distance = self._vertebra_distance_mm(local[near]) * np.float32(settings.scale)
            nearest[near] = np.minimum(nearest[near], distance)
        return np.minimum(nearest, 12.0)

    def _vertebra_distance_mm(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, " n"]:
        """Return the distance to one vertebra; it is symmetric, so only one side is modelled."""
        settings = self.settings
        p = points_mm.copy()
        p[:, 0] = np.abs(p[:, 0])
        tip = -14.0 - settings.process_length_mm
        span = settings.transverse_span_mm / 2.0
        body = elliptic_cylinder(p, (0, 25, 0), 22.5, 16.5, 13.5, waist=0.12, round_mm=2.0)
        canal = elliptic_cylinder(p, (0, 0.5, 0), 11.5, 8.0, 60.0)
        arch = capsule(p, (14, 10, 5), (14.5, -3, 4), 4.5, 4.5, (1.0, 1.0, 1.5))
        lamina = capsule(p, (14, -6, 3), (2, -15, -4), 3.4, 3.6, (1.0, 1.0, 2.4))
        process = rounded_box(p, (0, (tip - 13) / 2, -5), (2.8, (-13 - tip) / 2, 9), 2.6)
        knob = capsule(p, (0, tip + 2, -11), (0, tip + 2, 0), 4.2)
        transverse = capsule(p, (14, -3, 4), (span - 4, -9, 6), 5.2, 3.6, (1.0, 0.8, 1.2))
        upper = capsule(p, (16, -4, 8), (18, -9, 17), 4.8, 4.3)
        lower = capsule(p, (12.5, -10, -6), (13, -13.5, -18), 4.6, 4.3)
        bone = smooth_union(body, arch, 4.0)
        for part in (lamina, transverse, upper, lower):
            bone = smooth_union(bone, part, 3.5)
        bone = smooth_union(bone, smooth_union(process, knob, 3.0), 4.0)
        return np.asarray(np.maximum(bone, -canal), dtype=np.float32)

    def skin_y_mm(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the y of the skin: a furrow in the midline between the back muscles."""
        tip = (-14.0 - self.settings.process_length_mm) * self.settings.scale
        cover = self.settings.fat_mm + self.settings.skin_mm + 3.0
        x = points_mm[:, 0]
        furrow = 5.0 * (1.0 - np.exp(-((x / 22.0) ** 2))) - (x / 26.0) ** 2
        wave = 0.6 * smooth_noise(points_mm, (35.0, np.inf, 35.0), self.seed + 11)
        return np.asarray(tip - cover - furrow + wave, dtype=np.float32)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the skin, negative in the patient."""
        points = points_mm.astype(np.float32)
        return (self.skin_y_mm(points) - points[:, 1]).astype(np.float64)

    def _layers_mm(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Return the depth below the skin, below the dermis and below the fat."""
        depth = points_mm[:, 1] - self.skin_y_mm(points_mm)
        wave = smooth_noise(points_mm, (25.0, np.inf, 25.0), self.seed + 12)
        fat = self.settings.fat_mm * (1.0 + 0.25 * wave)
        dermis = depth - np.float32(self.settings.skin_mm)
        return depth, dermis, (dermis - fat).astype(np.float32)

    def properties(self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        depth, dermis, deep = self._layers_mm(points_mm)
        bone = self.bone_distance_mm(points_mm)
        septa = self._septa_mm(points_mm, deep)
        fibres = smooth_noise(points_mm, (1.7, 1.7, 6.8), self.seed + 13)
        lobules = smooth_noise(points_mm, (5.0, 2.5, 5.0), self.seed + 14)
        midline = np.exp(-((points_mm[:, 0] / 3.0) ** 2)) * (points_mm[:, 1] < -12.0)
        level, loss = mixed(
            len(points_mm),
            (
                (depth, "skin", 0.0),
                (dermis, "fat", 3.0 * lobules),
                (deep, "muscle", 3.5 * fibres + 6.0 * midline),
                (-bone, "bone", 0.0),
            ),
            frequency_mhz,
        )
        return Properties(level, loss, np.stack([-depth, -dermis, -deep, septa, bone], axis=1))

    def _septa_mm(
        self,
        points_mm: Float32[np.ndarray, "n 3"],
        deep_mm: Float32[np.ndarray, " n"],
    ) -> Float32[np.ndarray, " n"]:
        """Return a level set of wavy sheets between muscle bundles, absent elsewhere."""
        wander = smooth_noise(points_mm, (9.0, 9.0, 30.0), self.seed + 15)
        tilt = np.float32(0.35) * np.abs(points_mm[:, 0])
        return septa_mm(points_mm[:, 1] + tilt + 2.5 * wander, deep_mm, SEPTA_PITCH_MM)

    def mri(self) -> Volume:
        """Return a synthetic T1-weighted MRI of the same anatomy."""
        return synthesise_t1(self.bounds_mm, self._mri_tissue, self.seed, self.settings.mri_mm)

    def _mri_tissue(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> list[tuple[Float32[np.ndarray, " n"], MriTissue]]:
        """Return tissues from the outside in, each with the depth below its surface."""
        depth, dermis, deep = self._layers_mm(points_mm)
        bone = self.bone_distance_mm(points_mm)
        x, y, _ = points_mm.T
        canal = 1.0 - np.sqrt((x / 10.5) ** 2 + ((y - 0.5) / 7.0) ** 2)
        return [
            (depth, MriTissue.SKIN),
            (dermis, MriTissue.FAT),
            (deep, MriTissue.MUSCLE),
            (7.0 * canal.astype(np.float32), MriTissue.CSF),
            (-bone, MriTissue.CORTICAL_BONE),
            (-bone - 1.5, MriTissue.MARROW),
        ]
