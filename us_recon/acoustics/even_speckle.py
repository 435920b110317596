"""Speckle of even tissue as a probe's images would show it: what pixels do to it is in there."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Float64

from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.geometry.rigid import make_rigid
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams

_LEVEL = 0.6  # brightness of the mean power: neither black nor white clips
_STEP_MM = (3.1, 1.7, 7.3)  # between views: to speckle that was not seen before
_FAR_MM = 1e4
_VIEWS, _DEGREE = 8, 2


def even_speckle(
    probe: ProbeGeometry, settings: RenderSettings, views: int
) -> Float32[np.ndarray, "views beams samples"]:
    """Return brightness along the beams of images of tissue that is alike everywhere.

    Args:
        probe: Beams and pixels; images are scan-converted and sampled back.
        settings: Resolution, grain and dynamic range; time gain and attenuation are left out.
        views: How many images, each of other scatterers.
    """
    grey = replace(
        settings,
        speckle=True,
        gain_db=-settings.scatter_db - (1.0 - _LEVEL) * settings.dynamic_range_db,
        compensation_db_cm_mhz=0.0,
        tgc_db_cm=0.0,
        tgc_sliders_db=tuple(0.0 for _ in settings.tgc_sliders_db),
        noise_db=-200.0,
        face_reflection=0.0,
    )
    images = []
    for view in range(views):
        aside = make_rigid(np.eye(3), np.array(_STEP_MM) * view)
        shown = expected_image(_even_tissue(), aside, probe, grey).image
        images.append(to_beams(shown, probe) / np.float32(255.0))
    return np.stack(images)


def pixel_offset_db(
    probe: ProbeGeometry, settings: RenderSettings
) -> Float64[np.ndarray, " samples"]:
    """Return by how much pixels change the mean power of speckle at every depth, in dB.

    Interpolating the logarithm fills the dark gaps and cuts the peaks: it takes up to 1 dB.
    """
    level_db = (even_speckle(probe, settings, _VIEWS) - _LEVEL) * settings.dynamic_range_db
    middle = level_db[:, 1:-1]  # the outermost beams lie on the rim of the image
    offset_db = 10.0 * np.log10((10.0 ** (0.1 * middle.astype(np.float64))).mean(axis=(0, 1)))
    depth = np.linspace(-1.0, 1.0, probe.sample_count)
    within = slice(probe.sample_count // 20, -max(1, probe.sample_count // 20))
    smooth = np.polyfit(depth[within], offset_db[within], _DEGREE)
    return np.asarray(np.polyval(smooth, depth))


def _even_tissue() -> AcousticVolume:
    ones = torch.ones(2, 2, 2)
    scale = np.diag([2.0 * _FAR_MM, 2.0 * _FAR_MM, 2.0 * _FAR_MM, 1.0])
    T_space_index = make_rigid(np.eye(3), np.full(3, -_FAR_MM)) @ scale
    return AcousticVolume(1.6 * ones, 0.0 * ones, ones, ones, T_space_index)
