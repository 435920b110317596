"""A virtual patient: the ICBM 2009a template brain under a craniotomy.

Frame: the template's RAS. Grey and white matter come from the template's probability maps, sulci
and ventricles from what these leave free; the T1 image is only handed out as the MRI. Template:
Fonov et al., NeuroImage 54 (2011) 313; the files are those that nilearn ships.
"""

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.settings import setting
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.scene import Interface, Properties
from us_recon.simulation.tissue import TISSUES, reflection_coefficient

TEMPLATE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
HULL_SPACING = 2  # the hull is smooth: every second voxel is enough
HULL_CLOSING_MM = 9.0
SKULL_MM = (2.5, 8.5)  # inner and outer table above the hull
DURA_MM = 1.0
FALX_HALF_MM = 0.3
FISSURE_LAYER = 102  # 30 mm above the commissures, over the top of the ventricles


@dataclass(frozen=True)
class BrainSettings:
    """Where the skull is open."""

    side: str = setting("right", "Side of the craniotomy.", choices=("right", "left"))
    forward_deg: float = setting(
        10.0, "Centre of the opening, from lateral to the front.", unit="deg"
    )
    upward_deg: float = setting(40.0, "Centre of the opening above lateral.", unit="deg")
    opening_radius_mm: float = setting(
        34.0, "Radius of the craniotomy.", unit="mm", minimum=10.0, maximum=60.0
    )
    reach_mm: float = setting(85.0, "Depth that can be imaged.", unit="mm", minimum=20.0)

    @classmethod
    def drawn(cls, seed: int) -> "BrainSettings":
        """Draw one craniotomy."""
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
    solids: tuple[str, ...] = ("skull", "ependyma", "dura")

    @cached_property
    def interfaces(self) -> tuple[Interface, ...]:
        """Dura, cortex, falx, the ventricles' lining and the skull around the opening."""
        return (
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

    @cached_property
    def maps(self) -> "TissueMaps":
        """The tissue maps of the template."""
        return TissueMaps.of_template()

    @cached_property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """On the dura in the middle of the opening; z, the sweep, runs to the front."""
        forward, up = np.radians([self.settings.forward_deg, self.settings.upward_deg])
        outward = np.array([np.cos(up) * np.cos(forward), np.cos(up) * np.sin(forward), np.sin(up)])
        outward[0] *= 1.0 if self.settings.side == "right" else -1.0
        centre = np.array([0.0, -18.0, 8.0])
        reach_mm = np.arange(20.0, 110.0, 0.25)
        along = centre + reach_mm[:, None] * outward
        surface = along[int(np.argmax(self.contact_distance_mm(along) > 0))]
        step = 4.0 * np.eye(3)
        slope = self.contact_distance_mm(surface + step) - self.contact_distance_mm(surface - step)
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
        hull = self.maps.sample(self.maps.hull_mm, points_mm.astype(np.float32))
        return hull.astype(np.float64) - DURA_MM

    def properties(
        self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float
    ) -> Properties:
        """Return the acoustic properties at points."""
        maps = self.maps
        hull = maps.sample(maps.hull_mm, points_mm)
        grey, white = maps.sample(maps.grey, points_mm), maps.sample(maps.white, points_mm)
        ventricle = maps.sample(maps.ventricle, points_mm)
        sulcus = maps.sample(maps.sulcus, points_mm)
        dura = np.exp(-(((hull - 0.5) / 0.8) ** 2))
        skull = self._skull_mm(points_mm, hull)
        shares = {
            "grey_matter": grey * (1.0 - sulcus),
            "white_matter": white * (1.0 - sulcus),
            "csf": ventricle,
            "pia": sulcus,
        }
        brain = np.clip(0.5 - hull / 1.5, 0.0, 1.0)
        shares = {name: share * brain for name, share in shares.items()}
        shares["dura"] = dura
        shares["skull"] = np.clip(0.5 - skull / 1.2, 0.0, 1.0)
        total = np.maximum(sum(shares.values()), 1.0)  # type: ignore[arg-type]
        texture_db = {
            "pia": 3.0 * smooth_noise(points_mm, 2.5, self.seed + 11),
            "white_matter": 1.5 * smooth_noise(points_mm, 3.0, self.seed + 12),
            "grey_matter": 1.2 * smooth_noise(points_mm, 2.0, self.seed + 13),
        }
        level = np.zeros(len(points_mm), dtype=np.float32)
        loss = np.zeros_like(level)
        for name, share in shares.items():
            tissue = TISSUES[name]
            amplitude = tissue.backscatter_amplitude
            amplitude = amplitude * 10.0 ** (texture_db.get(name, np.float32(0.0)) / 20.0)
            level += share / total * amplitude
            loss += share / total * np.float32(tissue.attenuation_at(frequency_mhz))
        level_sets = [hull - DURA_MM, hull + 0.8, *self._inner_mm(points_mm, hull), skull]
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
        """Return the template's T1 image."""
        return load_template("t1")


@dataclass(frozen=True, eq=False)
class TissueMaps:
    """Voxel maps of the template in its own frame, 1 mm.

    Attributes:
        grey: Grey matter, 0 to 1.
        white: White matter, 0 to 1.
        sulcus: Membranes and vessels in the sulci, 0 to 1.
        ventricle: Ventricles, 0 to 1.
        ventricle_edge_mm: About the distance to their wall, negative inside.
        hull_mm: Signed distance to the brain's hull without sulci, negative inside.
        origin_mm: Centre of voxel (0, 0, 0).
    """

    grey: Float32[np.ndarray, "i j k"]
    white: Float32[np.ndarray, "i j k"]
    sulcus: Float32[np.ndarray, "i j k"]
    ventricle: Float32[np.ndarray, "i j k"]
    ventricle_edge_mm: Float32[np.ndarray, "i j k"]
    hull_mm: Float32[np.ndarray, "i j k"]
    origin_mm: Float64[np.ndarray, "3"]

    @classmethod
    def of_template(cls) -> "TissueMaps":
        """Derive the maps from the template's files."""
        t1, grey, white = (load_template(name) for name in ("t1", "gm", "wm"))
        hull = _hull_distance_mm(t1.data > 0)
        fluid = 1.0 - (grey.data + white.data) / 255.0
        ventricle = _ventricles(fluid, hull)
        smooth = ndimage.gaussian_filter(ventricle, 0.7)
        return cls(
            grey=np.clip(grey.data / 255.0 * (1.0 - smooth), 0.0, 1.0),
            white=np.clip(white.data / 255.0 * (1.0 - smooth), 0.0, 1.0),
            sulcus=_sulci(np.where(ndimage.maximum_filter(smooth, 5) > 0.3, 0.0, fluid)),
            ventricle=smooth,
            ventricle_edge_mm=(0.5 - smooth) * np.float32(4.0),
            hull_mm=hull,
            origin_mm=t1.T_space_index[:3, 3],
        )

    @property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Lowest and highest voxel centre."""
        return self.origin_mm, self.origin_mm + np.array(self.grey.shape) - 1.0

    def sample(
        self, field: Float32[np.ndarray, "i j k"], points_mm: Float32[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, " n"]:
        """Interpolate one of the maps at points."""
        index = points_mm - self.origin_mm.astype(np.float32)
        values = ndimage.map_coordinates(field, index.T, order=1, mode="nearest")
        return np.asarray(values, dtype=np.float32)


def template_path(name: str) -> Path:
    """Return the file of one template image, "t1", "gm" or "wm", without importing nilearn.

    Raises:
        InputError: nilearn is not installed or does not hold the file.
    """
    found = importlib.util.find_spec("nilearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "datasets" / "data" / TEMPLATE.format(name)
        if path.is_file():
            return path
    raise InputError(
        f"the brain template {TEMPLATE.format(name)} was not found; "
        "install the PyPI package nilearn, which ships it (pip install nilearn)"
    )


def load_template(name: str) -> Volume:
    """Load one template image."""
    image = nibabel.nifti1.load(template_path(name))
    data = np.asarray(image.dataobj, dtype=np.float32)
    return Volume(data, np.asarray(image.affine, dtype=np.float64))


def _hull_distance_mm(brain: Bool[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    """Return the signed distance to the brain closed over its sulci, smoothed."""
    margin = int(HULL_CLOSING_MM) // HULL_SPACING + 2
    coarse = np.pad(brain[::HULL_SPACING, ::HULL_SPACING, ::HULL_SPACING], margin)
    reach = HULL_CLOSING_MM / HULL_SPACING
    grown = ndimage.distance_transform_edt(~coarse) <= reach
    closed = ndimage.distance_transform_edt(grown) > reach
    inside, outside = (ndimage.distance_transform_edt(mask) for mask in (closed, ~closed))
    signed = (outside - inside).astype(np.float32) * HULL_SPACING
    signed = ndimage.gaussian_filter(signed, 1.2)
    index = [np.arange(n) / HULL_SPACING + margin for n in brain.shape]
    # Separable linear interpolation, one axis after the other.
    for axis, at in enumerate(index):
        low = np.floor(at).astype(int)
        fraction = (at - low).astype(np.float32)
        fraction = fraction.reshape([-1 if a == axis else 1 for a in range(3)])
        low_values = np.take(signed, low, axis=axis)
        signed = low_values + fraction * (np.take(signed, low + 1, axis=axis) - low_values)
    return np.asarray(signed, dtype=np.float32)


def _sulci(fluid: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    """Return how much of a voxel is sulcus, by how its fluid stands out.

    The template is a mean over many brains, so that most sulci keep a fifth of their fluid.
    """
    fluid = np.clip(fluid, 0.0, 1.0)
    ridge = (fluid - 0.8 * ndimage.gaussian_filter(fluid, 2.5)) / 0.2
    ridge = np.clip(ridge, 0.0, 1.0)
    return np.asarray(ridge * ridge * (3.0 - 2.0 * ridge), dtype=np.float32)


def _ventricles(
    fluid: Float32[np.ndarray, "i j k"], hull_mm: Float32[np.ndarray, "i j k"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the deep fluid that is thicker than a sulcus."""
    below_fissure = np.arange(fluid.shape[2]) < FISSURE_LAYER
    deep = (hull_mm < -25.0) & below_fissure
    core = ndimage.binary_opening((fluid > 0.5) & deep, iterations=1)
    labels, count = ndimage.label(core)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    core = (sizes > 5000)[labels]
    grown = ndimage.binary_dilation(core, iterations=2)
    # The wall's partial volume is grey matter in the maps: half fluid counts as fluid.
    return np.where(grown & deep, np.clip(2.0 * fluid, 0.0, 1.0), 0.0).astype(np.float32)
