"""The surface that a label mask marks: where each beam first enters the target."""

import numpy as np
from jaxtyping import UInt8

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams
from us_recon.occupancy.surface import BeamSurface, SurfaceSource


def label_surface(label: UInt8[np.ndarray, "rows columns"], geometry: ProbeGeometry) -> BeamSurface:
    """Return where each beam first enters the labelled region.

    The boundary lies half way between the last sample outside and the first one inside. A beam
    that is labelled from its very first sample has no such boundary and shows no surface.

    Args:
        label: 0 background, more than 0 inside the target.
        geometry: Geometry of the image that the label belongs to.

    Raises:
        InputError: The label has another size than the geometry.
    """
    if label.shape != geometry.shape:
        raise InputError(f"label is {label.shape}; the probe geometry describes {geometry.shape}")
    inside = to_beams((label > 0).astype(np.float32), geometry)
    beams = np.arange(len(inside))
    first = (inside >= 0.5).argmax(axis=1)
    before = np.maximum(first - 1, 0)
    outer, inner = inside[beams, before], inside[beams, first]
    entered = (first > 0) & (inner >= 0.5)
    part = (0.5 - outer) / np.where(entered, inner - outer, 1.0)
    depth_mm = (before + part) * geometry.sample_step_mm
    return BeamSurface(
        geometry=geometry,
        depth_mm=np.where(entered, depth_mm, np.nan).astype(np.float32),
        confidence=entered.astype(np.float32),
        contact=np.ones(len(inside), bool),
        source=SurfaceSource.LABEL,
    )
