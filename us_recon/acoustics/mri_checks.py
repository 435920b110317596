"""Is this an MRI of a head, of the contrast that was named?"""

import numpy as np
from jaxtyping import Bool, Float32

from us_recon.acoustics.contrasts import contrast_of
from us_recon.acoustics.features import DISTANCE_SCALE_MM, FEATURES, VoxelFeatures
from us_recon.acoustics.head_regions import coarse_step
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

LEAST_MM, MOST_MM = 20.0, 600.0
LEAST_VOXELS = 8
LEAST_GAIN_NATS = 0.015
LEAST_SEPARATION = 0.5
LEAST_SHARE = 0.05
LEAST_SMOOTHNESS = 0.4
LEAST_WHITE_DEPTH_MM = 8.0
CT_HU = -500.0


def check_image(volume: Volume) -> None:
    """Accept a volume that could be an MRI of a head or a part of it.

    Raises:
        InputError: It is not 3-D, empty, constant, of impossible size, or a CT.
    """
    data = volume.data
    if data.ndim != 3:
        raise InputError(f"the MRI has shape {data.shape}; expected one volume of three dimensions")
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        raise InputError("the MRI is NaN everywhere; expected an image")
    if finite.min() == finite.max():
        raise InputError(f"the MRI is {finite.min():g} everywhere; expected an image")
    extent_mm = volume.spacing_mm * data.shape
    size = " x ".join(f"{each:.4g}" for each in extent_mm)
    if extent_mm.min() < LEAST_MM or extent_mm.max() > MOST_MM or min(data.shape) < LEAST_VOXELS:
        raise InputError(
            f"the MRI has {' x '.join(map(str, data.shape))} voxels and measures {size} mm; "
            f"expected {LEAST_VOXELS} voxels and {LEAST_MM:g} to {MOST_MM:g} mm a side: is the "
            "unit of length in its header right?"
        )
    if np.percentile(finite, 1.0) < CT_HU:
        raise InputError(
            f"the MRI has values down to {finite.min():g}; this looks like a CT in Hounsfield "
            "units: use acoustic_volume_from_ct (--ct)"
        )


def check_brain(seen: VoxelFeatures, volume: Volume, contrast: str) -> None:
    """Accept an image that shows brain as this contrast does.

    The histogram must show tissues, neighbours must be alike, and white matter must lie deep in a
    body of brain, deeper than grey matter: on most wrong contrasts the two are exchanged.

    Args:
        seen: What was made of the image.
        volume: The image.
        contrast: The name of its contrast.

    Raises:
        InputError: It does not; the message says what was missing.
    """
    coarse = tuple(slice(None, None, every) for every in coarse_step(volume))
    known, found = seen.known[coarse], seen.intensities
    reasons = []
    smoothness = neighbour_correlation(volume.data[coarse], known)
    if smoothness < LEAST_SMOOTHNESS:
        reasons.append(f"neighbouring voxels are not alike (correlation {smoothness:.2f})")
    if found.gain_nats < LEAST_GAIN_NATS or found.separation < LEAST_SEPARATION:
        reasons.append("its histogram does not show fluid, grey and white matter")
    if min(found.share["grey_matter"], found.share["white_matter"]) < LEAST_SHARE:
        reasons.append("it shows hardly any grey or white matter")

    order = contrast_of(contrast).order
    level = np.rint(seen.values[0][coarse])
    depth_mm = seen.values[FEATURES.index("brain's depth")][coarse] * DISTANCE_SCALE_MM
    grey, white = (
        depth_mm[known & (level == order.index(name)) & (depth_mm > 0.0)]
        for name in ("grey_matter", "white_matter")
    )
    if not (len(grey) and len(white)):
        reasons.append("it shows no grey or no white matter")
    elif white.mean() < LEAST_WHITE_DEPTH_MM:
        reasons.append(f"its white matter would lie only {white.mean():.0f} mm deep in a brain")
    elif white.mean() < grey.mean():
        reasons.append("its white matter would lie less deep in the brain than its grey matter")
    if reasons:
        raise InputError(
            f"this does not look like a {contrast.upper()} MRI of a head: {'; '.join(reasons)}. "
            "Is it an MRI of another contrast (t1, t2, flair)? A volume of anything else can be "
            "labelled by tissue (acoustic_volume_from_labels, --labels)"
        )


def neighbour_correlation(
    data: Float32[np.ndarray, "i j k"], among: Bool[np.ndarray, "i j k"]
) -> float:
    """Return the least correlation of neighbours along the three axes; 0 where there are none."""
    least = 1.0
    for axis in range(3):
        first, second = np.arange(data.shape[axis] - 1), np.arange(1, data.shape[axis])
        both = among.take(first, axis) & among.take(second, axis)
        a, b = data.take(first, axis)[both], data.take(second, axis)[both]
        if len(a) < 100 or a.std() == 0 or b.std() == 0:
            return 0.0
        least = min(least, float(np.corrcoef(a, b)[0, 1]))
    return least
