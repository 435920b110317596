"""Tissue maps of the ICBM 2009a template: where grey and white matter, sulci and ventricles are.

Grey and white matter are the template's probability maps; sulci and ventricles come from what these
leave free. The T1 image gives the outline of the brain and nothing else. Template: Fonov et al.,
NeuroImage 54 (2011) 313; the files are those that nilearn ships.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

TEMPLATE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
HULL_SPACING = 2  # the hull is smooth: every second voxel is enough
HULL_CLOSING_MM = 9.0
FISSURE_LAYER = 102  # 30 mm above the commissures, over the top of the ventricles


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


@lru_cache(maxsize=1)
def tissue_maps() -> TissueMaps:
    """Return the maps of the template; they are made once."""
    return TissueMaps.of_template()


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
