"""Probes of the virtual cell, one of each kind for each scene."""

from dataclasses import dataclass

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.simulation.beam import BeamSettings

BEAMS, SAMPLES = 192, 512


@dataclass(frozen=True)
class VirtualProbe:
    """A probe and how its beams are focused."""

    geometry: ProbeGeometry
    beam: BeamSettings


def probe_for(scene: str, kind: ProbeKind) -> VirtualProbe:
    """Return the probe that is used on a scene: of the back, or small and for open surgery.

    Raises:
        InputError: No probe is known for that scene.
    """
    if scene == "spine":
        return _back_probe(kind)
    if scene == "brain":
        return _surgical_probe(kind)
    raise InputError(f"no probe is known for scene {scene!r}; expected spine or brain")


def _back_probe(kind: ProbeKind) -> VirtualProbe:
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


def _surgical_probe(kind: ProbeKind) -> VirtualProbe:
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
