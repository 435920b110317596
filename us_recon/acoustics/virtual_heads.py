"""Heads with known tissues and drawn MRI contrasts, for training and measuring the learned map.

The brain is the ICBM 2009a template (Fonov et al., NeuroImage 54 (2011) 313) that nilearn ships:
its grey and white matter maps are the truth, and what they leave free is fluid. Skull and scalp,
which the template lacks, are shells around it. Mean intensities are drawn around what each contrast
shows, then come partial volume, texture, a bias field, noise, gain and offset. T1 can also be the
template's own image. The template is symmetric, so that one hemisphere is no test of a map that was
trained on the other: front and back are told apart instead.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int
from scipy import ndimage

from us_recon.acoustics.classifier import CLASSES
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

TEMPLATE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
MARGIN = 18  # voxels around the template, for skull and scalp
BACK_BELOW_MM, FRONT_ABOVE_MM = -22.0, -14.0  # about the middle of the brain, and a gap

MEANS = {
    "t1": {
        "air": (0.0, 0.04), "csf": (0.2, 0.4), "grey_matter": (0.68, 0.82),
        "white_matter": (1.0, 1.0), "skull": (0.0, 0.12), "cancellous_bone": (0.4, 1.1),
        "fat": (1.2, 1.7), "skin": (0.5, 0.9), "tumour": (0.5, 0.7), "vessel": (1.4, 2.5),
    },
    "t2": {
        "air": (0.0, 0.03), "csf": (1.0, 1.0), "grey_matter": (0.42, 0.55),
        "white_matter": (0.28, 0.38), "skull": (0.0, 0.08), "cancellous_bone": (0.3, 0.6),
        "fat": (0.5, 0.9), "skin": (0.2, 0.4), "tumour": (0.65, 0.85), "vessel": (0.1, 0.3),
    },
    "flair": {
        "air": (0.0, 0.04), "csf": (0.05, 0.25), "grey_matter": (1.0, 1.0),
        "white_matter": (0.72, 0.86), "skull": (0.0, 0.1), "cancellous_bone": (0.3, 0.7),
        "fat": (0.6, 1.2), "skin": (0.4, 0.8), "tumour": (1.3, 1.8), "vessel": (0.5, 0.9),
    },
}  # fmt: skip
"""Range of each tissue's mean; set by us after the look of such images."""

SHELLS = (("csf", 1.5), ("skull", 1.5), ("cancellous_bone", 3.0), ("skull", 1.5), ("fat", 3.5),
          ("skin", 2.5))  # fmt: skip
"""From the brain outwards, mm."""


@dataclass(frozen=True, eq=False)
class VirtualHead:
    """An image and the true shares of `CLASSES` in its voxels."""

    volume: Volume
    shares: Float32[np.ndarray, "classes i j k"]
    known: Bool[np.ndarray, "i j k"]

    def half(self, front: bool) -> Bool[np.ndarray, "i j k"]:
        """Return the known voxels of the front or of the back of the head."""
        chosen = _in_half(self.volume.T_space_index, np.arange(self.shares.shape[2]), front)
        return self.known & chosen[None, :, None]


def virtual_head(
    contrast: str, seed: int, *, bare: bool = False, own_t1: bool = False, crop: str = "",
    noise: tuple[float, float] = (0.01, 0.05), bias: float = 0.15,
) -> VirtualHead:  # fmt: skip
    """Draw a head.

    Args:
        contrast: "t1", "t2" or "flair".
        seed: Of everything that is drawn.
        bare: Leave out skull and scalp; zeros surround the brain.
        own_t1: Take the template's own T1 image instead of a drawn one; it has no skull.
        crop: "front" or "back" keeps a box of 60 to 100 mm a side about the surface there.
        noise: Range of the noise's deviation relative to the brightest brain tissue.
        bias: How far the bias field reaches from 1.
    """
    draw = np.random.default_rng([seed, *contrast.encode()])
    *maps, T = _template()
    box = _box(draw, maps[2], T, crop == "front") if crop else (slice(None),) * 3
    grey, white, outline, own = (each[box] for each in maps)
    sharpness = 1.0 if own_t1 else draw.uniform(1.0, 2.5)
    shares = _anatomy(draw, contrast, (grey, white, outline), bare or own_t1, sharpness)
    if own_t1:
        image, known = own.copy(), outline
    else:
        image, known = _image(draw, contrast, shares), outline if bare else np.ones_like(outline)
    field = ndimage.zoom(
        draw.uniform(-1.0, 1.0, (3, 4, 3)), np.array(image.shape) / (3, 4, 3), order=2
    )
    image = image * (1.0 + bias * field.astype(np.float32))
    sigma = draw.uniform(*noise)
    real, imaginary = (
        sigma * draw.standard_normal(image.shape, dtype=np.float32) for _ in range(2)
    )
    image = np.hypot(image + real, imaginary)  # Rician, as the magnitude of an MRI is
    gain, offset = np.exp(draw.uniform(np.log(50.0), np.log(2000.0))), draw.choice([0.0, 0.1])
    image = np.where(known, gain * (image + offset), 0.0).astype(np.float32)
    T = T.copy()
    T[:3, 3] += [each.start or 0 for each in box]
    return VirtualHead(Volume(image, T), shares, known)


def _anatomy(
    draw: np.random.Generator,
    contrast: str,
    maps: tuple[np.ndarray, np.ndarray, np.ndarray],
    bare: bool,
    sharpness: float,
) -> Float32[np.ndarray, "c i j k"]:
    grey, white, outline = maps
    fluid = np.clip(1.0 - grey - white, 0.0, 1.0)
    # The template is a mean of many brains: a power makes its maps as sharp as one brain's.
    parts = np.stack([fluid, grey, white]) ** np.float32(sharpness)
    parts = parts / np.maximum(parts.sum(axis=0), 1e-6) * outline
    shares = np.zeros((len(CLASSES), *grey.shape), np.float32)
    for name, part in zip(("csf", "grey_matter", "white_matter"), parts, strict=True):
        shares[CLASSES.index(name)] = part
    distance_mm = ndimage.distance_transform_edt(~outline).astype(np.float32)
    if not bare:
        inner_mm = 0.0
        for name, thickness_mm in SHELLS:
            outer_mm = inner_mm + thickness_mm * draw.uniform(0.7, 1.5)
            shares[CLASSES.index(name)] += _between(distance_mm, inner_mm, outer_mm) * ~outline
            inner_mm = outer_mm
        shares[0] = np.clip(1.0 - shares[1:].sum(axis=0), 0.0, 1.0)
    if contrast == "t1":
        _add(shares, "vessel", _vessels(draw, shares[CLASSES.index("csf")], distance_mm))
    else:
        _add(shares, "tumour", _lesion(draw, outline))
    return shares


def _in_half(
    T_space_index: Float64[np.ndarray, "4 4"], j: Int[np.ndarray, " n"], front: bool
) -> Bool[np.ndarray, " n"]:
    y_mm = T_space_index[1, 3] + j
    return np.asarray(y_mm > FRONT_ABOVE_MM if front else y_mm < BACK_BELOW_MM)


def _between(
    d: Float32[np.ndarray, "i j k"], inner: float, outer: float
) -> Float32[np.ndarray, "i j k"]:
    return np.clip(d - inner + 0.5, 0.0, 1.0) - np.clip(d - outer + 0.5, 0.0, 1.0)


def _add(
    shares: Float32[np.ndarray, "c i j k"], name: str, part: Float32[np.ndarray, "i j k"]
) -> None:
    shares *= 1.0 - part
    shares[CLASSES.index(name)] += part


def _vessels(
    draw: np.random.Generator,
    fluid: Float32[np.ndarray, "i j k"],
    distance_mm: Float32[np.ndarray, "i j k"],
) -> Float32[np.ndarray, "i j k"]:
    """Contrast-enhanced vessels: where two smooth random fields cross zero in the fluid."""
    tube = np.zeros_like(fluid)
    if draw.uniform() < 0.5:
        return tube
    fields = [ndimage.gaussian_filter(draw.standard_normal(fluid.shape, dtype=np.float32), 4.0)
              for _ in range(2)]  # fmt: skip
    near = sum((field / field.std()) ** 2 for field in fields)
    return np.asarray(np.exp(-near / 0.1) * (fluid > 0.15) * (distance_mm < 2.0), np.float32)


def _lesion(
    draw: np.random.Generator, outline: Bool[np.ndarray, "i j k"]
) -> Float32[np.ndarray, "i j k"]:
    deep = np.argwhere(ndimage.binary_erosion(outline[::4, ::4, ::4], iterations=2)) * 4
    part = np.zeros(outline.shape, np.float32)
    grid = np.ogrid[tuple(slice(size) for size in outline.shape)]
    for centre in draw.permutation(deep)[: draw.integers(2, 6)]:
        radius = draw.uniform(4.0, 14.0, 3)
        r = np.sqrt(sum(((g - c) / s) ** 2 for g, c, s in zip(grid, centre, radius, strict=True)))
        part = np.maximum(part, np.clip((1.0 - r) * 4.0, 0.0, 1.0).astype(np.float32))
    return part * outline


def _image(
    draw: np.random.Generator, contrast: str, shares: Float32[np.ndarray, "c i j k"]
) -> Float32[np.ndarray, "i j k"]:
    image = np.zeros(shares.shape[1:], np.float32)
    for name, share in zip(CLASSES, shares, strict=True):
        image += share * np.float32(draw.uniform(*MEANS[contrast][name]))
    grains = draw.standard_normal((24, 28, 24), dtype=np.float32)
    image *= 1.0 + 0.04 * ndimage.zoom(grains, np.array(image.shape) / grains.shape, order=1)
    return ndimage.gaussian_filter(image, draw.uniform(0.3, 1.0), truncate=3.0)


def _box(
    draw: np.random.Generator,
    outline: Bool[np.ndarray, "i j k"],
    T_space_index: Float64[np.ndarray, "4 4"],
    front: bool,
) -> tuple[slice, ...]:
    """Return a box about a place on the brain's surface, as a craniotomy's image has it."""
    surface = np.argwhere(outline & ~ndimage.binary_erosion(outline, iterations=3))
    surface = surface[_in_half(T_space_index, surface[:, 1], front)]
    centre, size = surface[draw.integers(len(surface))], draw.integers(60, 100, 3)
    low = np.clip(centre - size // 2, 0, np.array(outline.shape) - size)
    return tuple(slice(int(a), int(a + s)) for a, s in zip(low, size, strict=True))


@lru_cache(maxsize=1)
def _template() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return grey, white, the brain's outline, T1 (0 to 1) and the affine, with a margin."""
    images = {name: nibabel.nifti1.load(template_path(name)) for name in ("t1", "gm", "wm")}
    maps = [np.asarray(image.dataobj, dtype=np.float32) / 255.0 for image in images.values()]
    box = ndimage.find_objects((maps[0] > 0).astype(np.uint8))[0]
    t1, grey, white = (np.pad(each[box], MARGIN).astype(np.float32) for each in maps)
    T = np.asarray(images["t1"].affine, dtype=np.float64).copy()
    T[:3, 3] += T[:3, :3] @ np.array([each.start - MARGIN for each in box])
    return grey, white, t1 > 0, t1, T


def template_path(name: str) -> Path:
    """Return the file of a template image, "t1", "gm" or "wm".

    Raises:
        InputError: nilearn, which ships it, is not installed.
    """
    found = importlib.util.find_spec("nilearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "datasets" / "data" / TEMPLATE.format(name)
        if path.is_file():
            return path
    raise InputError(
        f"the brain template {TEMPLATE.format(name)} was not found; pip install nilearn, "
        "which ships it"
    )
