"""What the learned map sees of a voxel: calibrated intensity, surroundings and place."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from us_recon.acoustics.contrasts import Contrast
from us_recon.acoustics.head_regions import coarse_step, known_voxels, likely_brain, outside_air
from us_recon.acoustics.histogram import ClassIntensities, class_intensities
from us_recon.imaging.volume import Volume

FEATURES = (
    "intensity",
    "blurred 1 mm",
    "least about",
    "most about",
    "blurred 3 mm",
    "brain's depth",
    "air's distance",
)
"""Least and most tell a voxel half fluid, half tissue from one of a tissue between the two."""
INTENSITY_RANGE = (-3.0, 6.0)
FINE_MM, WIDE_MM, ABOUT_MM = 1.0, 3.0, 3.0
BRAIN_OPENING_MM, BRAIN_CLOSING_MM = 3.0, 9.0
DISTANCE_SCALE_MM, DISTANCE_LIMIT = 10.0, 2.0
BARE_MM, BARE_SHARE = 3.0, 0.5


@dataclass(frozen=True, eq=False)
class VoxelFeatures:
    """What is known of each voxel before the network looks at it.

    Attributes:
        values: In the order of `FEATURES`; distances in units of `DISTANCE_SCALE_MM`.
        known: Where there is an image.
        intensities: The calibration to this patient.
        bare: The brain is surrounded by padding: skull and scalp were cut off.
    """

    values: Float32[np.ndarray, "7 i j k"]
    known: Bool[np.ndarray, "i j k"]
    intensities: ClassIntensities
    bare: bool


def features_of(volume: Volume, contrast: Contrast) -> VoxelFeatures:
    """Return the features of every voxel of an MRI.

    Raises:
        InputError: The image is constant.
    """
    known = known_voxels(volume)
    step = coarse_step(volume)
    coarse = tuple(slice(None, None, every) for every in step)
    coarse_mm = volume.spacing_mm * step
    seen, data = known[coarse], volume.data[coarse]
    air = outside_air(data, seen, coarse_mm)
    found = class_intensities(data[likely_brain(seen, air, coarse_mm)], contrast)

    x = normalised(volume.data, found, contrast)
    x[~known] = 0.0
    rough = x[coarse]
    depth_mm = brain_depth_mm(rough, seen & ~air, contrast, coarse_mm)
    wide = blurred(rough, seen, WIDE_MM / coarse_mm)
    near = (depth_mm / DISTANCE_SCALE_MM, distance_mm(air, coarse_mm) / DISTANCE_SCALE_MM)
    fields = [
        enlarged(np.clip(each, -limit, limit).astype(np.float32), step, x.shape)
        for each, limit in ((wide, np.inf), *((each, DISTANCE_LIMIT) for each in near))
    ]
    fine = blurred(x, known, FINE_MM / volume.spacing_mm)
    about = np.maximum(2 * np.round(0.5 * ABOUT_MM / volume.spacing_mm) + 1, 3).astype(int)
    least, most = (
        extreme(fine, size=tuple(about))
        for extreme in (ndimage.minimum_filter, ndimage.maximum_filter)
    )
    values = np.stack([x, fine, least, most, *fields])
    return VoxelFeatures(values, known, found, is_bare(depth_mm, seen, coarse_mm))


def is_bare(
    depth_mm: Float32[np.ndarray, "i j k"], known: Bool[np.ndarray, "i j k"], spacing_mm: np.ndarray
) -> bool:
    """Return whether most of the brain's surface lies next to padding."""
    surface = known & (np.abs(depth_mm) < BARE_MM)
    if known.all() or not surface.any():
        return False
    beside = distance_mm(~known, spacing_mm)[surface] < 2.0 * BARE_MM
    return bool(beside.mean() > BARE_SHARE)


def distance_mm(
    mask: Bool[np.ndarray, "i j k"], spacing_mm: np.ndarray
) -> Float[np.ndarray, "i j k"]:
    """Return the distance to the nearest voxel of a mask, infinite where it has none."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm))


def normalised(
    data: Float32[np.ndarray, "..."], found: ClassIntensities, contrast: Contrast
) -> Float32[np.ndarray, "..."]:
    """Return intensities on the patient's own scale: its three tissues at 0, 1 and 2.

    Between and beyond them it is linear; so gain, offset and most of the sequence drop out.
    """
    a, b, c = (found.mean[name] for name in contrast.order)
    low, high = INTENSITY_RANGE
    knots = [a + low * (b - a), a, b, c, c + (high - 2.0) * (c - b)]
    values = np.interp(data, knots, [low, 0.0, 1.0, 2.0, high])
    return np.asarray(values, dtype=np.float32)


def blurred(
    x: Float32[np.ndarray, "i j k"], known: Bool[np.ndarray, "i j k"], sigma: np.ndarray
) -> Float32[np.ndarray, "i j k"]:
    """Return the Gaussian mean over what is known around each voxel; `sigma` in voxels."""
    total = ndimage.gaussian_filter(x * known, sigma, truncate=3.0)
    if known.all():
        return total
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma, truncate=3.0)
    return np.asarray(total / np.maximum(weight, 1e-3), dtype=np.float32)


def brain_depth_mm(
    x: Float32[np.ndarray, "i j k"],
    tissue: Bool[np.ndarray, "i j k"],
    contrast: Contrast,
    spacing_mm: np.ndarray,
) -> Float32[np.ndarray, "i j k"]:
    """Return how deep under the brain's hull each voxel lies, negative outside it, in mm.

    The hull is that of the largest body of grey and white matter, parted from the scalp by opening
    and closed over the sulci. At the border of the image nothing is taken away.
    """
    grey, white = (contrast.order.index(name) for name in ("grey_matter", "white_matter"))
    matter = tissue & (x > min(grey, white) - 0.5) & (x < max(grey, white) + 0.7)

    labels, count = ndimage.label(distance_mm(~matter, spacing_mm) > BRAIN_OPENING_MM)
    if count == 0:
        return np.zeros(x.shape, np.float32)
    core = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    reach = BRAIN_OPENING_MM + BRAIN_CLOSING_MM
    grown = distance_mm(core, spacing_mm) <= reach
    hull = distance_mm(~grown, spacing_mm) > BRAIN_CLOSING_MM
    depth = np.where(hull, distance_mm(~hull, spacing_mm), -distance_mm(hull, spacing_mm))
    limit = DISTANCE_LIMIT * DISTANCE_SCALE_MM
    return np.clip(depth, -limit, limit).astype(np.float32)


def enlarged(
    field: Float32[np.ndarray, "a b c"], step: tuple[int, int, int], shape: tuple[int, ...]
) -> Float32[np.ndarray, "i j k"]:
    """Return a field of every `step`-th voxel on all voxels, linear between, one axis at a time."""
    for axis, (every, size) in enumerate(zip(step, shape, strict=True)):
        if every == 1:
            continue
        at = np.minimum(np.arange(size) / every, field.shape[axis] - 1)
        low = (
            np.minimum(at.astype(int), field.shape[axis] - 2)
            if field.shape[axis] > 1
            else at.astype(int)
        )
        share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        high = np.minimum(low + 1, field.shape[axis] - 1)
        first = np.take(field, low, axis=axis)
        field = first + share * (np.take(field, high, axis=axis) - first)
    return field
