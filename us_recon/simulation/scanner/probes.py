"""Probes of the virtual cell, one of each kind for each use; sizes as catalogues list them."""

from dataclasses import dataclass

from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.simulation.scanner.beam import BeamSettings

BEAMS, SAMPLES = 192, 512


@dataclass(frozen=True)
class VirtualProbe:
    """A probe and how its beams are focused."""

    geometry: ProbeGeometry
    beam: BeamSettings


def back_probe(kind: ProbeKind) -> VirtualProbe:
    """Return a probe for the muscles and bones of the back."""
    if kind == ProbeKind.LINEAR:
        return VirtualProbe(
            _linear(width_mm=51.2, depth_mm=65.0, frequency_mhz=6.0),
            BeamSettings(focus_mm=32.0, aperture_mm=24.0),
        )
    if kind == ProbeKind.CONVEX:
        return VirtualProbe(
            _sector(kind, radius_mm=50.0, opening_deg=60.0, depth_mm=85.0, frequency_mhz=4.0),
            BeamSettings(focus_mm=40.0, aperture_mm=24.0, slice_fwhm_mm=2.0),
        )
    return VirtualProbe(
        _sector(kind, radius_mm=0.0, opening_deg=80.0, depth_mm=90.0, frequency_mhz=3.5),
        BeamSettings(focus_mm=45.0, aperture_mm=22.0, slice_fwhm_mm=2.2),
    )


def surgical_probe(kind: ProbeKind) -> VirtualProbe:
    """Return a small probe for open surgery."""
    if kind == ProbeKind.LINEAR:
        return VirtualProbe(
            _linear(width_mm=38.4, depth_mm=65.0, frequency_mhz=7.0),
            BeamSettings(focus_mm=30.0, aperture_mm=24.0),
        )
    if kind == ProbeKind.CONVEX:
        return VirtualProbe(
            _sector(kind, radius_mm=16.0, opening_deg=80.0, depth_mm=75.0, frequency_mhz=6.0),
            BeamSettings(focus_mm=35.0, aperture_mm=20.0),
        )
    return VirtualProbe(
        _sector(kind, radius_mm=0.0, opening_deg=85.0, depth_mm=80.0, frequency_mhz=5.0),
        BeamSettings(focus_mm=40.0, aperture_mm=20.0, slice_fwhm_mm=2.0),
    )


def superficial_probe(kind: ProbeKind) -> VirtualProbe:
    """Return a probe for what lies some 40 mm under the skin of a limb."""
    if kind == ProbeKind.LINEAR:
        return VirtualProbe(
            _linear(width_mm=44.8, depth_mm=45.0, frequency_mhz=9.0),
            BeamSettings(focus_mm=20.0, aperture_mm=20.0, slice_fwhm_mm=1.2),
        )
    if kind == ProbeKind.CONVEX:
        return VirtualProbe(
            _sector(kind, radius_mm=14.0, opening_deg=75.0, depth_mm=55.0, frequency_mhz=7.0),
            BeamSettings(focus_mm=24.0, aperture_mm=16.0, slice_fwhm_mm=1.4),
        )
    return VirtualProbe(
        _sector(kind, radius_mm=0.0, opening_deg=80.0, depth_mm=60.0, frequency_mhz=5.5),
        BeamSettings(focus_mm=28.0, aperture_mm=16.0),
    )


def abdominal_probe(kind: ProbeKind) -> VirtualProbe:
    """Return a probe for the abdomen; the linear one sees the near part only."""
    if kind == ProbeKind.LINEAR:
        return VirtualProbe(
            _linear(width_mm=51.2, depth_mm=80.0, frequency_mhz=5.5),
            BeamSettings(focus_mm=45.0, aperture_mm=26.0, slice_fwhm_mm=2.0),
        )
    if kind == ProbeKind.CONVEX:
        return VirtualProbe(
            _sector(kind, radius_mm=60.0, opening_deg=60.0, depth_mm=150.0, frequency_mhz=3.5),
            BeamSettings(focus_mm=75.0, aperture_mm=32.0, slice_fwhm_mm=2.8),
        )
    return VirtualProbe(
        _sector(kind, radius_mm=0.0, opening_deg=85.0, depth_mm=150.0, frequency_mhz=2.8),
        BeamSettings(focus_mm=75.0, aperture_mm=24.0, slice_fwhm_mm=3.2),
    )


def general_probe(kind: ProbeKind) -> VirtualProbe:
    """Return a probe for a patient of whom nothing is known."""
    if kind == ProbeKind.LINEAR:
        return VirtualProbe(
            _linear(width_mm=51.2, depth_mm=60.0, frequency_mhz=6.5),
            BeamSettings(focus_mm=30.0, aperture_mm=24.0),
        )
    if kind == ProbeKind.CONVEX:
        return VirtualProbe(
            _sector(kind, radius_mm=50.0, opening_deg=60.0, depth_mm=100.0, frequency_mhz=4.0),
            BeamSettings(focus_mm=50.0, aperture_mm=26.0, slice_fwhm_mm=2.2),
        )
    return VirtualProbe(
        _sector(kind, radius_mm=0.0, opening_deg=80.0, depth_mm=100.0, frequency_mhz=3.5),
        BeamSettings(focus_mm=50.0, aperture_mm=22.0, slice_fwhm_mm=2.4),
    )


def _linear(width_mm: float, depth_mm: float, frequency_mhz: float) -> ProbeGeometry:
    pixel_mm = 0.125
    return ProbeGeometry.linear(
        width_mm,
        depth_mm,
        width_px=round(width_mm / pixel_mm),
        height_px=round(depth_mm / pixel_mm),
        beam_count=BEAMS,
        sample_count=SAMPLES,
        centre_frequency_mhz=frequency_mhz,
    )


def _sector(
    kind: ProbeKind, radius_mm: float, opening_deg: float, depth_mm: float, frequency_mhz: float
) -> ProbeGeometry:
    return ProbeGeometry.sector(
        kind,
        radius_mm,
        opening_deg,
        depth_mm,
        width_px=520,
        beam_count=BEAMS,
        sample_count=SAMPLES,
        centre_frequency_mhz=frequency_mhz,
    )
