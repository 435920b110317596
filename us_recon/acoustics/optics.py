"""How a device blurs what comes back: the weights of pulse and beam, and the speckle they leave."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics.constants import probe_tensors
from us_recon.acoustics.echoes import DB_PER_NEPER
from us_recon.acoustics.point_spread import (
    FWHM,
    beam_pitch_mm,
    beam_sigma,
    beam_weights,
    pulse_weights,
    speckle_variance,
)
from us_recon.acoustics.settings import DeviceParameters, RenderSettings
from us_recon.imaging.probe import ProbeGeometry


@dataclass(frozen=True, eq=False)
class Optics:
    """What a device does to echoes before gain and compression.

    Attributes:
        along: Weights of the samples around one, of sum 1: the pulse as scatterers see it.
        sharp: The same of peak 1: a sharp interface of reflection R comes back with amplitude R.
        across: Weights of the beams around one at every depth, of sum 1.
        speckle_level: What brings blurred scatterers back to their variance, at every depth.
        floor: Power of the receiver's noise.
    """

    along: Float[Tensor, "pulse_taps 1"]
    sharp: Float[Tensor, "pulse_taps 1"]
    across: Float[Tensor, "beam_taps samples"]
    speckle_level: Float[Tensor, " samples"]
    floor: Float[Tensor, ""]


def make_optics(device: DeviceParameters, probe: ProbeGeometry, settings: RenderSettings) -> Optics:
    """Return the weights of a device. Gradients flow to it.

    The number of weights depends on the widths: where these live on a GPU, they are waited for.

    Args:
        device: Widths, focus and noise.
        probe: Beams and samples.
        settings: The scatterers' spacing.
    """
    depths_mm = probe_tensors(probe, device.pulse_mm.dtype, device.pulse_mm.device).depths_mm
    along = pulse_weights(device.pulse_mm, probe.sample_step_mm, probe.sample_count // 2)
    lateral_mm = beam_sigma(device, probe, depths_mm) * beam_pitch_mm(probe, depths_mm)
    variance = speckle_variance(device.pulse_mm / FWHM, settings.grain_mm) * speckle_variance(
        lateral_mm, settings.grain_mm
    )
    return Optics(
        along=along,
        sharp=along / along.max(),
        across=beam_weights(device, probe, depths_mm),
        speckle_level=variance.rsqrt(),
        floor=torch.exp(2.0 * device.noise_db / DB_PER_NEPER),
    )
