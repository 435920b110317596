"""Both directions between a scan-converted image and beam space."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Shaped

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry


def to_beams(
    image: Shaped[np.ndarray, "rows columns"], geometry: ProbeGeometry
) -> Float32[np.ndarray, "beams samples"]:
    """Resample an image along the beams, bilinearly; samples outside the image are 0.

    Args:
        image: (rows, columns) in MF orientation, of the size that `geometry` states.
        geometry: Probe geometry; its beam and sample counts give the size of the result.

    Raises:
        InputError: The image has another size than the geometry.
    """
    if image.shape != geometry.shape:
        raise InputError(f"image is {image.shape}; the probe geometry describes {geometry.shape}")
    columns, rows = _image_lookup(geometry)
    return _remap(image.astype(np.float32), columns, rows, 0.0)


def to_image(
    beams: Shaped[np.ndarray, "beams samples"], geometry: ProbeGeometry, fill: float = 0.0
) -> Float32[np.ndarray, "rows columns"]:
    """Scan-convert a beam-space image, bilinearly; pixels outside the sector are `fill`.

    Raises:
        InputError: The beams have another size than the geometry.
    """
    expected = (geometry.beam_count, geometry.sample_count)
    if beams.shape != expected:
        raise InputError(f"beams are {beams.shape}; the probe geometry describes {expected}")
    samples, beam_rows = _beam_lookup(geometry)
    # The outermost half beam of a linear array has one neighbour only: it repeats it.
    converted = _remap(beams.astype(np.float32), samples, beam_rows, None)
    return np.where(geometry.fan_mask, converted, np.float32(fill)).astype(np.float32)


def _remap(
    source: Float32[np.ndarray, "h w"],
    x: Float32[np.ndarray, "oh ow"],
    y: Float32[np.ndarray, "oh ow"],
    outside: float | None,
) -> Float32[np.ndarray, "oh ow"]:
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    value = 0.0 if outside is None else outside
    remapped = cv2.remap(
        source, x, y, cv2.INTER_LINEAR, borderMode=border, borderValue=(value,) * 4
    )
    return np.asarray(remapped, dtype=np.float32)


@lru_cache(maxsize=16)
def _image_lookup(
    geometry: ProbeGeometry,
) -> tuple[Float32[np.ndarray, "beams samples"], Float32[np.ndarray, "beams samples"]]:
    pixels = geometry.mm_to_pixels(geometry.beam_points_mm).astype(np.float32)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])


@lru_cache(maxsize=16)
def _beam_lookup(
    geometry: ProbeGeometry,
) -> tuple[Float32[np.ndarray, "rows columns"], Float32[np.ndarray, "rows columns"]]:
    index = geometry.mm_to_beams(geometry.pixels_to_mm(geometry.pixel_grid)).astype(np.float32)
    return np.ascontiguousarray(index[..., 1]), np.ascontiguousarray(index[..., 0])
