"""The expected image as a screen shows it: rendered, scan-converted, and where it is known."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from us_recon.acoustics.renderer import Rendering, render
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_image


@dataclass(frozen=True, eq=False)
class ExpectedImage:
    """What the acoustic volume predicts at one pose.

    Attributes:
        image: Brightness in MF orientation; 0 where the tissue is unknown and outside the sector.
        known: Pixels of the sector whose tissue is known.
        share_inside: Share of the sector's pixels that are known, 0 to 1.
        rendering: What it was made from, in beam space, one pose.
    """

    image: UInt8[np.ndarray, "rows columns"]
    known: Bool[np.ndarray, "rows columns"]
    share_inside: float
    rendering: Rendering


def expected_image(
    acoustic_volume: AcousticVolume,
    T_volume_transducer: Float64[np.ndarray, "4 4"],
    probe: ProbeGeometry,
    settings: RenderSettings | None = None,
) -> ExpectedImage:
    """Render one pose for display. No gradients flow.

    Args:
        acoustic_volume: The patient, on any device.
        T_volume_transducer: Rigid pose of the array in the volume's millimetres.
        probe: Beams, samples and pixels.
        settings: How to render, on which device.

    Raises:
        InputError: The pose is not finite.
    """
    T = torch.from_numpy(T_volume_transducer).to(acoustic_volume.impedance_mrayl)
    with torch.no_grad():
        rendering = render(acoustic_volume, T, probe, settings)
    known = (as_image(rendering.inside[0], probe) > 0.5) & probe.fan_mask
    brightness = as_image(rendering.brightness[0], probe)
    image = np.where(known, np.rint(255.0 * brightness), 0.0).astype(np.uint8)
    share = float(known.sum() / max(1, probe.fan_mask.sum()))
    return ExpectedImage(image, known, share, rendering)


def as_image(
    beams: Float[torch.Tensor, "beams samples"], probe: ProbeGeometry
) -> Float32[np.ndarray, "rows columns"]:
    """Scan-convert a field of a rendering; 0 outside the sector."""
    return to_image(beams.detach().cpu().numpy(), probe)
