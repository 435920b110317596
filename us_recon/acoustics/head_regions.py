"""Where an image is known, where the air around the head is, and where the brain is."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from us_recon.imaging.volume import Volume

WORKING_MM = 2.0  # grid on which regions are found
DARK_SHARE = 0.15  # of the range from the darkest voxel to the 98th percentile
AIR_OPENING_MM = 3.0
PADDING_SHARE = 0.02  # of the volume: less of one value is no padding
SKULL_AND_SCALP_MM = 12.0


def known_voxels(volume: Volume) -> Bool[np.ndarray, "i j k"]:
    """Return where there is an image: finite, and not the constant that pads it.

    A constant counts as padding where it fills more than `PADDING_SHARE` of the volume and is its
    least value, as a brain that was cut out of its head is surrounded by zeros.
    """
    known = np.isfinite(volume.data)
    least = volume.data[known].min()
    padding = volume.data == least
    if padding.mean() < PADDING_SHARE:
        return known
    # What is as dark inside the image, enclosed by it, is an image of something dark.
    labels, _ = ndimage.label(padding | ~known)
    faces = [np.take(labels, at, axis=axis) for axis in range(3) for at in (0, -1)]
    outside = np.unique(np.concatenate([face.ravel() for face in faces]))
    return known & ~np.isin(labels, outside[outside > 0])


def coarse_step(volume: Volume) -> tuple[int, int, int]:
    """Return every how many voxels the working grid has one."""
    steps = np.maximum(np.round(WORKING_MM / volume.spacing_mm), 1).astype(int)
    return int(steps[0]), int(steps[1]), int(steps[2])


def outside_air(
    data: Float32[np.ndarray, "i j k"], known: Bool[np.ndarray, "i j k"], spacing_mm: np.ndarray
) -> Bool[np.ndarray, "i j k"]:
    """Return the dark region that reaches the border of the image and is thicker than a sulcus."""
    low, high = np.percentile(data[known], [0.1, 98.0])
    dark = known & (data < low + DARK_SHARE * (high - low))
    core = ndimage.distance_transform_edt(dark | ~known, sampling=spacing_mm) > AIR_OPENING_MM
    labels, _ = ndimage.label(core | ~known)
    faces = [np.take(labels, at, axis=axis) for axis in range(3) for at in (0, -1)]
    touching = np.unique(np.concatenate([face.ravel() for face in faces]))
    core = core & np.isin(labels, touching[touching > 0])
    reach = ndimage.distance_transform_edt(~core, sampling=spacing_mm)
    return np.asarray(dark & (reach <= AIR_OPENING_MM))


def likely_brain(
    known: Bool[np.ndarray, "i j k"], air: Bool[np.ndarray, "i j k"], spacing_mm: np.ndarray
) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels deep enough under air and padding to be brain rather than scalp."""
    tissue = known & ~air
    if tissue.all():
        return tissue
    depth_mm = ndimage.distance_transform_edt(tissue, sampling=spacing_mm)
    return np.asarray(depth_mm > min(SKULL_AND_SCALP_MM, 0.3 * depth_mm.max()))
