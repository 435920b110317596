"""Where a brain's sulci are: their membranes and vessels shine in ultrasound, seen in MRI or not.

An MRI voxel is as wide as most sulci. Three signs tell them all the same:

- fluid in a cleft too narrow to be a ventricle or a cistern;
- "white matter" that hangs on no white matter: a voxel of dark fluid and bright cortex (FLAIR), or
  of fluid and a bright vessel (T1 with contrast medium), has its intensity;
- grey matter further from all white matter than cortex is thick: there two banks touch.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage
from torch import Tensor

Shares = Float32[np.ndarray, "i j k"]

SOFTENING_MM = 1.0  # of the limit between narrow and wide fluid
SURROUNDINGS_MM = 3.0  # how far white matter next to fluid is looked for
BLADE_MM = 2.0  # the thinnest blade of white matter within a gyrus
RIM_MM = 1.0  # what mixes with white matter at its border
LEAST_BODY_MM3 = 300.0  # smaller parts are no white matter of their own
# Cortex is 2.5 mm thick in the mean, 1 to 4.5 (Fischl, Dale, PNAS 97 (2000) 11050).
CORTEX_MM = (2.0, 3.0)
DEEP_GREY_MM = 6.0  # further from white matter lie nuclei and lesions, not two banks of cortex
MEMBRANES = 0.5  # share of a voxel between two touching banks: set by us


def sulcus_shares(
    fluid: Float32[Tensor, " n"],
    grey: Float32[Tensor, " n"],
    white: Float32[Tensor, " n"],
    known: Bool[np.ndarray, "i j k"],
    spacing_mm: Float64[np.ndarray, "3"],
    width_mm: float,
) -> Float32[Tensor, "n 3"]:
    """Return how much of the fluid, the grey and the white matter of every voxel is a sulcus.

    Args:
        fluid: Share of fluid of the known voxels, 0 to 1.
        grey: Of grey matter.
        white: Of white matter.
        known: Where there is an image.
        spacing_mm: Edges of a voxel.
        width_mm: Fluid narrower than this may be a sulcus.
    """
    images = []
    for share in (fluid, grey, white):
        image = np.zeros(known.shape, np.float32)
        image[known] = share.numpy()
        images.append(image)
    of_fluid, of_grey, of_white = images
    narrow = narrow_fluid(of_fluid, of_grey, of_white, spacing_mm, width_mm)
    body = white_body(of_white > 0.5, spacing_mm)
    veiled, between = hidden(of_grey, of_white, body, spacing_mm)
    return torch.from_numpy(np.stack([each[known] for each in (narrow, between, veiled)], axis=1))


def narrow_fluid(
    fluid: Shares,
    grey: Shares,
    white: Shares,
    spacing_mm: Float64[np.ndarray, "3"],
    width_mm: float,
) -> Shares:
    """Return the share of fluid in clefts between grey matter, narrower than `width_mm`.

    What of the fluid a cube of that side does not fit into (a top-hat transform) is narrow. A
    ventricle's horn can be as narrow, but borders on white matter.
    """
    side = np.maximum(np.round(width_mm / spacing_mm), 1).astype(int)
    wide = ndimage.grey_opening(fluid, size=tuple(side))
    soft = SOFTENING_MM / spacing_mm
    wide, all_fluid = (ndimage.gaussian_filter(each, soft, truncate=2.5) for each in (wide, fluid))
    narrow = fluid * np.clip(1.0 - wide / np.maximum(all_fluid, 1e-3), 0.0, 1.0)
    sigma = SURROUNDINGS_MM / spacing_mm
    white, grey = (ndimage.gaussian_filter(each, sigma, truncate=2.5) for each in (white, grey))
    whiteness = white / np.maximum(white + grey, 1e-6)
    return np.asarray(narrow * np.clip((0.7 - whiteness) / 0.2, 0.0, 1.0), dtype=np.float32)


def white_body(
    white: Bool[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> Bool[np.ndarray, "i j k"]:
    """Return where white matter is that is thick somewhere, with its rim; nowhere, if all is thin.

    Opened by a ball, so that what only thin sheets join comes apart; of the parts the large ones.
    """
    thick = ndimage.binary_opening(white, ball(BLADE_MM, spacing_mm))
    parts, _ = ndimage.label(thick)
    volumes_mm3 = np.bincount(parts.ravel()) * float(np.prod(spacing_mm))
    volumes_mm3[0] = 0.0
    large = (volumes_mm3 > LEAST_BODY_MM3)[parts]
    if not large.any():
        return large
    return np.asarray(distance_mm(large, spacing_mm) <= RIM_MM)


def ball(diameter_mm: float, spacing_mm: Float64[np.ndarray, "3"]) -> Bool[np.ndarray, "i j k"]:
    """Return a ball as voxels: as many along each axis as the diameter is long, at least one."""
    counts = np.maximum(np.round(diameter_mm / spacing_mm), 1).astype(int)
    axes = [(2.0 * np.arange(n) + 1.0 - n) / n for n in counts]
    square = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    return np.asarray(square <= 1.0)


def hidden(
    grey: Shares,
    white: Shares,
    body: Bool[np.ndarray, "i j k"],
    spacing_mm: Float64[np.ndarray, "3"],
) -> tuple[Shares, Shares]:
    """Return the sulci that show no fluid: in place of white matter, and of grey.

    Neither is told where there is no white matter to tell it by, or none near.
    """
    if not body.any():
        return np.zeros_like(white), np.zeros_like(grey)
    off_mm = distance_mm(body & (white > 0.5), spacing_mm)
    near, far = CORTEX_MM
    ramp = np.clip((off_mm - near) / (far - near), 0.0, 1.0)
    deep = off_mm > DEEP_GREY_MM
    thin = np.ones_like(ramp)
    if deep.any():  # all of what is thick there, up to its rim
        thin = np.clip(distance_mm(deep, spacing_mm) - (DEEP_GREY_MM - 1.0), 0.0, 1.0)
    between = MEMBRANES * grey * ramp * ramp * (3.0 - 2.0 * ramp) * thin
    veiled = np.where(body, 0.0, white) * (off_mm <= 2.0 * DEEP_GREY_MM)
    return veiled.astype(np.float32), between.astype(np.float32)


def distance_mm(
    there: Bool[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "i j k"]:
    """Return how far every voxel's centre is from that of the next which is there; one must be."""
    return np.asarray(ndimage.distance_transform_edt(~there, sampling=spacing_mm), dtype=np.float32)
