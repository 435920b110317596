"""Pulse, beam and focus of a scanner from the speckle of its images.

The widths that are measured are wider than the point spread: pixels and the scatterers' spacing add
to it. So they are compared with those of rendered speckle that went through the same pixels, and
the settings corrected by the ratio.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64

from us_recon.acoustics.device_bounds import within_bounds
from us_recon.acoustics.even_speckle import even_speckle
from us_recon.acoustics.settings import UNKNOWN_PROBE_MHZ, RenderSettings
from us_recon.acoustics.speckle_widths import LOG_SPECKLE_DB, SpeckleWidths, speckle_widths
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams
from us_recon.settings import overridden

Blocks = Float32[np.ndarray, "frames beams samples"]

BANDS = 6
_BLOCK_BEAMS, _BLOCK_MM = 32, 6.0
_CORRECTIONS = 3
SPEED_MM_US = 1.54
_MOST_PULSE, _MOST_BEAM = 4.0, 12.0  # wavelengths
_VIEWS = 4
_LEAST_BLOCKS = 4
_CLIPPED = 0.02  # share of a block's samples that may be black or white
# Relative to that of developed speckle: less is a mirror's even echo, more has structure in it.
_LEAST_DEVIATION, _MOST_DEVIATION = 0.75, 1.35


def with_resolution(
    images: Blocks,
    valid: Bool[np.ndarray, "frames beams samples"],
    probe: ProbeGeometry,
    settings: RenderSettings,
) -> RenderSettings:
    """Return settings whose speckle is as wide as the measured one, at every depth.

    Where too little of the images is speckle, or it is wider than speckle can be, the settings stay
    as they are.

    Args:
        images: Measured brightness along the beams, 0 to 1.
        valid: What of it counts.
        probe: Its beams and pixels.
        settings: Where to start; grain and dynamic range are taken as they are.
    """
    measured = band_widths(images, valid, probe, settings.dynamic_range_db)
    if not np.isfinite([band.axial_samples for band in measured]).any():
        return settings
    depths_mm = band_depths_mm(probe)
    pulse_mm, beams_mm = settings.pulse_mm, np.full(BANDS, np.nan)
    fitted = settings
    for _ in range(_CORRECTIONS):
        model = model_widths(probe, fitted)
        pulse_mm *= float(np.nanmedian(_axial(measured) / _axial(model)))
        now_mm = beam_width_mm(fitted, depths_mm)
        beams_mm = now_mm * _lateral(measured) / _lateral(model)
        changes = {"pulse_mm": pulse_mm, **focused(depths_mm, beams_mm, fitted)}
        fitted = within_bounds(overridden(fitted, changes))
        pulse_mm = fitted.pulse_mm
    return fitted if plausible(fitted, probe) else settings


def plausible(settings: RenderSettings, probe: ProbeGeometry) -> bool:
    """Tell whether pulse and beam are no longer and wider than speckle of the frequency can be.

    Wider ones are the tissue's own structure, as in images whose speckle was averaged away. The
    limits are generous and set by us.
    """
    frequency_mhz = settings.frequency_mhz or probe.centre_frequency_mhz or UNKNOWN_PROBE_MHZ
    wavelength_mm = SPEED_MM_US / frequency_mhz
    return (
        settings.pulse_mm < _MOST_PULSE * wavelength_mm
        and settings.beam_mm < _MOST_BEAM * wavelength_mm
    )


def band_depths_mm(probe: ProbeGeometry) -> Float64[np.ndarray, " bands"]:
    """Return the middle of the bands of depth in which widths are measured."""
    return (np.arange(BANDS) + 0.5) * probe.depth_mm / BANDS


def beam_width_mm(
    settings: RenderSettings, depths_mm: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Return the lateral width at half height that settings give at depths."""
    off_focus = (depths_mm - settings.focus_mm) / settings.spread_mm
    return np.asarray(settings.beam_mm * np.sqrt(1.0 + off_focus * off_focus))


def band_widths(
    images: Blocks,
    valid: Bool[np.ndarray, "frames beams samples"],
    probe: ProbeGeometry,
    range_db: float,
) -> list[SpeckleWidths]:
    """Return the speckle's widths in every band of depth; NaN where there is too little of it."""
    beams = min(_BLOCK_BEAMS, probe.beam_count)
    samples = min(max(8, round(_BLOCK_MM / probe.sample_step_mm)), probe.sample_count // BANDS)
    ends = np.linspace(0, probe.sample_count, BANDS + 1).astype(int)
    found = []
    for low, high in pairwise(ends.tolist()):
        blocks, kept = [], []
        for first in range(low, high - samples + 1, samples):
            for beam in range(0, probe.beam_count - beams + 1, beams // 2):
                part = np.s_[:, beam : beam + beams, first : first + samples]
                blocks.append(images[part])
                kept.append(valid[part])
        found.append(_usable_widths(np.concatenate(blocks), np.concatenate(kept), range_db))
    return found


def _usable_widths(
    blocks: Float32[np.ndarray, "n beams samples"],
    valid: Bool[np.ndarray, "n beams samples"],
    range_db: float,
) -> SpeckleWidths:
    clipped = ((blocks < 1.0 / 255.0) | (blocks > 254.0 / 255.0)).mean(axis=(1, 2))
    deviation = range_db * blocks.std(axis=(1, 2)) / LOG_SPECKLE_DB
    speckle = (deviation > _LEAST_DEVIATION) & (deviation < _MOST_DEVIATION)
    usable = (clipped <= _CLIPPED) & valid.all(axis=(1, 2)) & speckle
    if usable.sum() < _LEAST_BLOCKS:
        return SpeckleWidths(float("nan"), float("nan"))
    return speckle_widths(blocks[usable])


def model_widths(probe: ProbeGeometry, settings: RenderSettings) -> list[SpeckleWidths]:
    """Return the widths of rendered speckle in even tissue, seen through the probe's pixels."""
    stacked = even_speckle(probe, settings, _VIEWS)
    all_valid = to_beams(probe.fan_mask.astype(np.float32), probe) > 0.99
    return band_widths(
        stacked,
        np.broadcast_to(all_valid, stacked.shape).copy(),
        probe,
        settings.dynamic_range_db,
    )


def focused(
    depths_mm: Float64[np.ndarray, " n"],
    widths_mm: Float64[np.ndarray, " n"],
    settings: RenderSettings,
) -> dict[str, float]:
    """Return width at the focus, its depth and its length that explain widths over depth.

    ``w^2 = b^2 (1 + (d - f)^2 / s^2)`` is a parabola in d. Where the widths do not open upwards,
    focus and spread stay as they are, and the width alone is fitted.
    """
    known = np.isfinite(widths_mm)
    depths, squared = depths_mm[known], widths_mm[known] ** 2
    if not len(depths):
        return {}
    if len(depths) >= 4:
        # Widths are about equally sure relative to their size.
        c, b, a = np.polyfit(depths, squared, 2, w=1.0 / squared)
        focus_mm = -b / (2.0 * c) if c > 0.0 else -1.0
        least = a + b * focus_mm / 2.0
        if c > 0.0 and 0.0 < focus_mm < 1.5 * depths_mm[-1] and least > 0.1 * squared.min():
            return {
                "beam_mm": float(np.sqrt(least)),
                "focus_mm": float(focus_mm),
                "spread_mm": float(np.sqrt(least / c)),
            }
    now = beam_width_mm(settings, depths)
    return {"beam_mm": settings.beam_mm * float(np.median(np.sqrt(squared) / now))}


def _axial(widths: list[SpeckleWidths]) -> Float64[np.ndarray, " n"]:
    return np.array([each.axial_samples for each in widths])


def _lateral(widths: list[SpeckleWidths]) -> Float64[np.ndarray, " n"]:
    return np.array([each.lateral_beams for each in widths])
