"""A virtual patient: the ICBM 2009a template brain under a craniotomy.

Frame: the template's RAS. The acoustics come from the tissue maps of `template`; the T1 image is
only handed out as the MRI. Brain shift moves all but the skull; the MRI shows the brain before it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.brain_shift import Sag
from us_recon.simulation.patients.lesion import Lesion, place_lesion
from us_recon.simulation.patients.template import TissueMaps, load_template, tissue_maps
from us_recon.simulation.scene import Interface, Properties
from us_recon.simulation.tissue import TISSUES, reflection_coefficient

SKULL_MM = (2.5, 8.5)  # inner and outer table above the hull
DURA_MM = 1.0
CORTEX_MM = 0.8  # depth of the cortex below the hull
FALX_HALF_MM = 0.3


@dataclass(frozen=True)
class BrainSettings:
    """Where the skull is open, and what happened to the brain."""

    side: str = setting("right", "Side of the craniotomy.", choices=("right", "left"))
    forward_deg: float = setting(
        10.0, "Centre of the opening, from lateral to the front.", unit="deg"
    )
    upward_deg: float = setting(40.0, "Centre of the opening above lateral.", unit="deg")
    opening_radius_mm: float = setting(
        34.0, "Radius of the craniotomy.", unit="mm", minimum=10.0, maximum=60.0
    )
    reach_mm: float = setting(85.0, "Depth that can be imaged.", unit="mm", minimum=20.0)
    lesion: str = setting("none", "Lesion under the opening.", choices=("none", "solid", "cystic"))
    lesion_radius_mm: float = setting(
        8.0, "Mean radius of the lesion.", unit="mm", minimum=3.0, maximum=20.0
    )
    shift_mm: float = setting(
        0.0, "Brain shift at the exposed cortex, inwards.", unit="mm", minimum=0.0, maximum=25.0
    )
    shift_length_mm: float = setting(
        30.0, "Distance at which it has fallen to 1/e.", unit="mm", minimum=15.0, maximum=60.0
    )

    @classmethod
    def drawn(cls, seed: int) -> "BrainSettings":
        """Draw one craniotomy, without lesion and without shift."""
        rng = np.random.default_rng([seed, 8])
        return cls(
            side=str(rng.choice(["right", "left"])),
            forward_deg=float(rng.uniform(-25.0, 30.0)),
            upward_deg=float(rng.uniform(25.0, 55.0)),
        )


@dataclass(frozen=True)
class VirtualBrain:
    """The template brain, to be scanned on the dura through the opening.

    Attributes:
        settings: The craniotomy.
        seed: Texture of the tissue.
    """

    settings: BrainSettings = BrainSettings()
    seed: int = 0
    name: str = "brain"

    @property
    def solids(self) -> tuple[str, ...]:
        """The lesion where there is one, skull, ventricles and dura."""
        lesion = ("lesion",) if self.lesion else ()
        return (*lesion, "skull", "ependyma", "dura")

    @property
    def target(self) -> str:
        """The lesion where there is one, else the skull."""
        return self.solids[0]

    @property
    def target_is_solid(self) -> bool:
        """A lesion is marked as a whole, of the skull only the visible face."""
        return self.lesion is not None

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Dura, cortex, falx, the ventricles' lining, the skull, and the lesion."""
        anatomy = (
            Interface("dura", reflection_coefficient("csf", "dura"), 6.0, 0.3, 3.0),
            Interface("cortex", 0.012, exponent=4.0, roughness=0.6, patchiness_db=5.0),
            Interface("falx", 0.03, exponent=3.0, roughness=0.6, patchiness_db=4.0),
            Interface("ependyma", 0.015, exponent=3.0, roughness=0.6, patchiness_db=4.0),
            Interface(
                "skull",
                reflection_coefficient("dura", "skull"),
                exponent=5.0,
                roughness=0.15,
                patchiness_db=2.0,
                blocks=True,
            ),
        )
        return (*anatomy, self.lesion.interface) if self.lesion else anatomy

    @cached_property
    def lesion(self) -> Lesion | None:
        """The lesion, where the settings ask for one."""
        settings = self.settings
        if settings.lesion == "none":
            return None
        centre = place_lesion(
            self.maps, self.T_scene_approach, settings.lesion_radius_mm, self.seed
        )
        return Lesion(settings.lesion, centre, settings.lesion_radius_mm, self.seed + 40)

    @cached_property
    def sag(self) -> Sag | None:
        """The brain shift, where the settings ask for one: largest on the cortex."""
        T = self.T_scene_approach
        if self.settings.shift_mm == 0.0:
            return None
        cortex = T[:3, 3] + (DURA_MM + CORTEX_MM) * T[:3, 1]
        return Sag(cortex, T[:3, 1], self.settings.shift_mm, self.settings.shift_length_mm)

    @property
    def maps(self) -> TissueMaps:
        """The tissue maps of the template."""
        return tissue_maps()

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """On the unmoved dura in the middle of the opening; z, the sweep, runs to the front."""
        forward, up = np.radians([self.settings.forward_deg, self.settings.upward_deg])
        outward = np.array([np.cos(up) * np.cos(forward), np.cos(up) * np.sin(forward), np.sin(up)])
        outward[0] *= 1.0 if self.settings.side == "right" else -1.0
        centre = np.array([0.0, -18.0, 8.0])
        reach_mm = np.arange(20.0, 110.0, 0.25)
        along = centre + reach_mm[:, None] * outward
        surface = along[int(np.argmax(self._above_dura_mm(along) > 0))]
        step = 4.0 * np.eye(3)
        slope = self._above_dura_mm(surface + step) - self._above_dura_mm(surface - step)
        y = -slope / np.linalg.norm(slope)
        z = np.array([0.0, 1.0, 0.0]) - y[1] * y
        z /= np.linalg.norm(z)
        T = np.eye(4)
        T[:3, 0], T[:3, 1], T[:3, 2], T[:3, 3] = np.cross(y, z), y, z, surface
        return T

    @cached_property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """The box around what can be seen through the opening, within the template."""
        wide = self.settings.opening_radius_mm + 24.0
        box = np.array(np.meshgrid([-wide, wide], [-10.0, self.settings.reach_mm], [-wide, wide]))
        corners = box.reshape(3, -1).T @ self.T_scene_approach[:3, :3].T
        corners += self.T_scene_approach[:3, 3]
        low, high = self.maps.bounds_mm
        # Whole millimetres, so that the grid has a layer in the middle of the thin falx.
        low = np.maximum(np.floor(corners.min(axis=0)), low)
        return low, np.minimum(np.ceil(corners.max(axis=0)), high)

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the dura, on which the probe is placed."""
        return self._above_dura_mm(self._before_shift_mm(points_mm))

    def _above_dura_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Return the distance outside the dura as it was before the shift."""
        hull = self.maps.sample(self.maps.hull_mm, points_mm.astype(np.float32))
        return hull.astype(np.float64) - DURA_MM

    def shift_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return how far the brain that the MRI shows at points has moved."""
        return self.sag.shift_mm(points_mm) if self.sag else np.zeros_like(points_mm)

    def _before_shift_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return where the tissue that now lies at points was in the MRI."""
        return self.sag.origin_mm(points_mm) if self.sag else points_mm

    def properties(self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""
        skull = self._skull_mm(points_mm, self.maps.sample(self.maps.hull_mm, points_mm))
        if self.sag:
            points_mm = self._before_shift_mm(points_mm.astype(np.float64)).astype(np.float32)
        maps = self.maps
        hull = maps.sample(maps.hull_mm, points_mm)
        grey, white = maps.sample(maps.grey, points_mm), maps.sample(maps.white, points_mm)
        ventricle = maps.sample(maps.ventricle, points_mm)
        sulcus = maps.sample(maps.sulcus, points_mm)
        dura = np.exp(-(((hull - 0.5) / 0.8) ** 2))
        shares = {
            "grey_matter": grey * (1.0 - sulcus),
            "white_matter": white * (1.0 - sulcus),
            "csf": ventricle,
            "pia": sulcus,
        }
        brain = np.clip(0.5 - hull / 1.5, 0.0, 1.0)
        shares = {name: share * brain for name, share in shares.items()}
        texture_db = {
            "pia": 3.0 * smooth_noise(points_mm, 2.5, self.seed + 11),
            "white_matter": 1.5 * smooth_noise(points_mm, 3.0, self.seed + 12),
            "grey_matter": 1.2 * smooth_noise(points_mm, 2.0, self.seed + 13),
        }
        level_sets = [hull - DURA_MM, hull + CORTEX_MM, *self._inner_mm(points_mm, hull), skull]
        if self.lesion:
            level_sets.append(self.lesion.distance_mm(points_mm))
            grown = self.lesion.shares(level_sets[-1])
            left = 1.0 - np.sum(list(grown.values()), axis=0)
            shares = {name: share * left for name, share in shares.items()}
            for name, share in grown.items():
                shares[name] = shares.get(name, 0.0) + share * brain
            texture_db["tumour"] = self.lesion.texture_db(points_mm)
        shares["dura"] = dura
        shares["skull"] = np.clip(0.5 - skull / 1.2, 0.0, 1.0)
        total = np.maximum(np.sum(list(shares.values()), axis=0), 1.0)
        level = np.zeros(len(points_mm), dtype=np.float32)
        loss = np.zeros_like(level)
        for name, share in shares.items():
            tissue = TISSUES[name]
            variation = 10.0 ** (texture_db.get(name, np.zeros(1)) / 20.0)
            level += share / total * tissue.backscatter_amplitude * variation
            loss += share / total * np.float32(tissue.attenuation_at(frequency_mhz))
        return Properties(level, loss, np.stack(level_sets, axis=1).astype(np.float32))

    def _inner_mm(
        self, points_mm: Float32[np.ndarray, "n 3"], hull: Float32[np.ndarray, " n"]
    ) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Return the level sets of falx and ependyma."""
        x, y, z = points_mm.T
        # The falx hangs from the vault to just above the corpus callosum.
        callosum = 34.0 - ((y + 15.0) / 55.0) ** 2 * 28.0
        falx = np.maximum(np.abs(x) - FALX_HALF_MM, np.maximum(hull + 2.0, callosum - z))
        lining = self.maps.sample(self.maps.ventricle_edge_mm, points_mm)
        return falx.astype(np.float32), lining

    def _skull_mm(
        self, points_mm: Float32[np.ndarray, "n 3"], hull: Float32[np.ndarray, " n"]
    ) -> Float32[np.ndarray, " n"]:
        inner, outer = SKULL_MM
        shell = np.abs(hull - 0.5 * (inner + outer)) - 0.5 * (outer - inner)
        from_axis = points_mm - self.T_scene_approach[:3, 3].astype(np.float32)
        axis = self.T_scene_approach[:3, 1].astype(np.float32)
        along = from_axis @ axis
        radial = np.sqrt(np.maximum((from_axis**2).sum(axis=1) - along**2, 0.0))
        opening = np.float32(self.settings.opening_radius_mm) - radial
        # The opening is cut on this side only.
        opening = np.where(along < 40.0, opening, -1e3)
        return np.asarray(np.maximum(shell, opening), dtype=np.float32)

    def mri(self) -> Volume:
        """Return the template's T1 image, with the lesion, before the shift."""
        template = load_template("t1")
        return self.lesion.shown_in(template, self.maps) if self.lesion else template
