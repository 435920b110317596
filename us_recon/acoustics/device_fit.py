"""A scanner's gain, time gain, levels and resolution, estimated from a tracked recording.

Levels are fitted by gradients through the renderer, on mean powers in cells along the beams;
resolution comes from the speckle's own width, in closed form. Deterministic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from us_recon.acoustics.even_speckle import pixel_offset_db
from us_recon.acoustics.fit_settings import DeviceFitSettings
from us_recon.acoustics.level_fit import (
    LEAST_VALID,
    Scene,
    level_db,
    look_at,
    valid_share,
    with_levels,
)
from us_recon.acoustics.measured_levels import Cells, cells_of, mean_level_db, measured_beams
from us_recon.acoustics.resolution_fit import with_resolution
from us_recon.acoustics.settings import RenderSettings, device_parameters
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.frame import TrackedFrame

_LEAST_CELLS = 50


@dataclass(frozen=True)
class Agreement:
    """How alike expected and measured images are, over the cells that both show.

    Attributes:
        cells: How many there are.
        correlation: Of mean brightness.
        difference: Mean absolute difference of brightness, 0 to 1 (of black to white).
        offset: Mean difference, expected less measured.
    """

    cells: int
    correlation: float
    difference: float
    offset: float


@dataclass(frozen=True)
class DeviceFit:
    """A fitted device.

    Attributes:
        settings: The renderer's settings for it.
        before: Agreement with the settings that the fit began with.
        after: Agreement with `settings`.
        frames: Frames that were used.
        resolution_found: Whether speckle told pulse and beam; else they are as given.
    """

    settings: RenderSettings
    before: Agreement
    after: Agreement
    frames: int
    resolution_found: bool


def fit_device(
    frames: Sequence[TrackedFrame],
    volume: AcousticVolume,
    T_world_volume: Float64[np.ndarray, "4 4"],
    settings: RenderSettings | None = None,
    fit: DeviceFitSettings | None = None,
) -> DeviceFit:
    """Estimate the device that made the frames.

    A picture tells levels relative to each other: the level of backscatter and the dynamic range
    stay as given (consoles show the latter), gain, edges and noise are fitted.

    Args:
        frames: A recording, all of one probe.
        volume: The patient.
        T_world_volume: Rigid pose of the volume.
        settings: Where to start, and what is not fitted.
        fit: How to fit.

    Raises:
        InputError: No frame, several probes, or hardly any echo inside the volume.
    """
    settings, fit = settings or RenderSettings(), fit or DeviceFitSettings()
    seen = observe(frames, volume, T_world_volume, fit)
    probe, fitted = seen.scene.probe, settings
    if fit.fit_resolution:
        fitted = with_resolution(
            seen.brightness.float().numpy(), seen.valid.numpy() > 0.5, probe, settings
        )
    # What pixels take from the speckle is no part of the device.
    offset = torch.from_numpy(pixel_offset_db(probe, fitted)) / fitted.dynamic_range_db
    shown = (seen.brightness > 0.0) & (seen.brightness < 1.0)
    whole = seen.brightness - offset * shown
    fitted = with_levels(seen.scene, whole, seen.valid, seen.cells, fitted, fit)
    return DeviceFit(
        fitted,
        agreement(seen, settings),
        agreement(seen, fitted),
        len(seen.brightness),
        fitted.pulse_mm != settings.pulse_mm,
    )


@dataclass(frozen=True, eq=False)
class Observation:
    """Measured frames along their beams, and the patient there.

    Attributes:
        scene: What lies along the beams.
        brightness: Measured, 0 to 1.
        valid: 1 where both sides say something, else 0.
        cells: In which levels are compared.
    """

    scene: Scene
    brightness: Float[Tensor, "frames beams samples"]
    valid: Float[Tensor, "frames beams samples"]
    cells: Cells


def observe(
    frames: Sequence[TrackedFrame],
    volume: AcousticVolume,
    T_world_volume: Float64[np.ndarray, "4 4"],
    fit: DeviceFitSettings | None = None,
) -> Observation:
    """Sample some of the frames along their beams, and look the volume up there.

    Raises:
        InputError: As `fit_device`.
    """
    fit = fit or DeviceFitSettings()
    if not frames or any(frame.geometry != frames[0].geometry for frame in frames):
        raise InputError(f"{len(frames)} frames; expected one or more, all of one geometry")
    chosen = [frames[n] for n in _spread(len(frames), fit.max_frames)]
    images, shown = measured_beams(chosen, fit.near_field_mm)
    scene = look_at(chosen, volume, T_world_volume)
    valid = torch.from_numpy(shown).double() * (scene.fields.inside > 0.5)
    cells = cells_of(scene.probe, fit.cell_mm)
    count = int((valid_share(valid, cells) > LEAST_VALID).sum())
    if count < _LEAST_CELLS:
        raise InputError(
            f"{count} cells of {fit.cell_mm:g} mm show echoes inside the volume, in "
            f"{len(chosen)} frames; expected {_LEAST_CELLS}: is the volume's pose in the world "
            "right, and does the image show tissue?"
        )
    return Observation(scene, torch.from_numpy(images).double(), valid, cells)


def agreement(seen: Observation, settings: RenderSettings) -> Agreement:
    """Compare expected with measured brightness, as screens show it, in cells."""
    device = device_parameters(settings, seen.scene.probe.centre_frequency_mhz, torch.float64)
    range_db = settings.dynamic_range_db
    with torch.no_grad():
        expected_db = level_db(seen.scene, settings, device)
        measured_db = (seen.brightness - 1.0) * range_db
        levels = [
            mean_level_db(each, seen.valid, seen.cells) for each in (expected_db, measured_db)
        ]
    counted = valid_share(seen.valid, seen.cells) > LEAST_VALID
    expected, measured = (
        (1.0 + each[counted] / range_db).clamp(0.0, 1.0).numpy() for each in levels
    )
    varied = expected.std() > 1e-6 and measured.std() > 1e-6
    return Agreement(
        cells=len(expected),
        correlation=float(np.corrcoef(expected, measured)[0, 1]) if varied else 0.0,
        difference=float(np.abs(expected - measured).mean()),
        offset=float((expected - measured).mean()),
    )


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` numbers below `count`, evenly spread."""
    return sorted({round(each) for each in np.linspace(0, count - 1, min(count, most))})
