"""The point spread function of the virtual scanner: pulse, lateral profile and slice thickness.

Gaussian beam-space profiles: Szabo, chapters 5 to 7; Cobbold, Foundations of Biomedical
Ultrasound, chapter 3. Two-way profiles are meant throughout.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float, Float32, Float64
from scipy import fft

from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.settings import setting

SPEED_MM_US = 1.54
LEAST_PITCH_MM = 0.02
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class BeamSettings:
    """The pulse and the focusing of the virtual scanner."""

    pulse_cycles: float = setting(
        2.0, "Two-way pulse length at half amplitude in periods.", minimum=0.5, maximum=20.0
    )
    f_number: float = setting(
        2.5, "Focal length over aperture, kept while the aperture grows.", minimum=0.5, maximum=10.0
    )
    aperture_mm: float = setting(
        20.0, "Largest active aperture; deeper the beam widens.", unit="mm", minimum=1.0
    )
    focus_mm: float = setting(
        30.0, "Depth of the transmit focus, where the beam is narrowest.", unit="mm", minimum=1.0
    )
    defocus: float = setting(
        0.5, "Widening at twice the focal depth and at the face, as a fraction.", minimum=0.0
    )
    slice_fwhm_mm: float = setting(
        1.6, "Slice thickness at the elevation focus, at half amplitude.", unit="mm", minimum=0.1
    )
    shadow_spread: float = setting(
        0.08, "Share of a shadow's edge that neighbours fill per step.", minimum=0.0, maximum=0.25
    )


@dataclass(frozen=True, eq=False)
class Beam:
    """The point spread function for one probe.

    Attributes:
        geometry: Probe whose beams and samples it is for.
        settings: Pulse and focusing.
    """

    geometry: ProbeGeometry
    settings: BeamSettings

    @property
    def wavelength_mm(self) -> float:
        """Wavelength at the centre frequency in average soft tissue."""
        return SPEED_MM_US / self.geometry.centre_frequency_mhz

    @property
    def axial_fwhm_mm(self) -> float:
        """Length of the pulse's echo in depth at half amplitude; an echo travels twice."""
        return self.settings.pulse_cycles * self.wavelength_mm / 2.0

    @property
    def axial_sigma_mm(self) -> float:
        """Standard deviation of the echo's Gaussian envelope."""
        return float(self.axial_fwhm_mm / FWHM_PER_SIGMA)

    @property
    def face_half_width_mm(self) -> float:
        """Half the width of the array face; a phased array is as wide as its aperture."""
        if self.geometry.kind == ProbeKind.LINEAR:
            return self.geometry.width_mm / 2.0
        if self.geometry.kind == ProbeKind.PHASED:
            return self.settings.aperture_mm / 2.0
        return float(np.abs(self.geometry.beam_origins_mm[:, 0]).max())

    def active_aperture_mm(self, depth_mm: Float[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """Return the width of the active aperture, which grows with depth up to its limit.

        All elements of a phased array work at all depths.
        """
        if self.geometry.kind == ProbeKind.PHASED:
            return np.full(np.shape(depth_mm), self.settings.aperture_mm)
        return np.asarray(np.minimum(self.settings.aperture_mm, depth_mm / self.settings.f_number))

    def lateral_fwhm_mm(self, depth_mm: Float[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """Return the two-way lateral width at half amplitude for depths along the beam."""
        settings = self.settings
        f_number = np.maximum(settings.f_number, depth_mm / settings.aperture_mm)
        off_focus = (depth_mm - settings.focus_mm) / settings.focus_mm
        return np.asarray(
            self.wavelength_mm * f_number * np.sqrt(1.0 + settings.defocus * off_focus**2)
        )

    def slice_sigma_mm(self, depth_mm: Float[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """Return the standard deviation of the elevation profile for depths along the beam."""
        off_focus = (depth_mm - self.settings.focus_mm) / self.settings.focus_mm
        widening = np.sqrt(1.0 + 0.3 * off_focus**2)
        return np.asarray(self.settings.slice_fwhm_mm / FWHM_PER_SIGMA * widening)

    def beam_pitch_mm(self, depth_mm: Float[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """Return the distance between neighbouring beams for depths along the beam.

        At the apex of a phased array all beams meet; there it is `LEAST_PITCH_MM`.
        """
        geometry = self.geometry
        if geometry.kind == ProbeKind.LINEAR:
            return np.full(np.shape(depth_mm), geometry.width_mm / geometry.beam_count)
        opening_rad = np.radians(geometry.angle_max_deg - geometry.angle_min_deg)
        pitch_mm = (geometry.radius_mm + depth_mm) * opening_rad / (geometry.beam_count - 1)
        return np.asarray(np.maximum(pitch_mm, LEAST_PITCH_MM))

    def locate(
        self, x_mm: Float32[np.ndarray, " n"], y_mm: Float32[np.ndarray, " n"]
    ) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Return fractional beam and sample of points, as `mm_to_beams` does but in float32."""
        geometry = self.geometry
        per_mm = np.float32(1.0 / geometry.sample_step_mm)
        if geometry.kind == ProbeKind.LINEAR:
            beam = x_mm * np.float32(geometry.beam_count / geometry.width_mm)
            return beam + np.float32((geometry.beam_count - 1) / 2.0), y_mm * per_mm
        below_apex = y_mm + np.float32(geometry.radius_mm)
        first_rad, last_rad = np.radians([geometry.angle_min_deg, geometry.angle_max_deg])
        per_rad = np.float32((geometry.beam_count - 1) / (last_rad - first_rad))
        beam = (np.arctan2(x_mm, below_apex) - np.float32(first_rad)) * per_rad
        reach = np.sqrt(x_mm * x_mm + below_apex * below_apex) - np.float32(geometry.radius_mm)
        return beam, reach * per_mm

    def transfer(self) -> "BeamTransfer":
        """Return the filters that blur a beam-space signal with this point spread function."""
        geometry = self.geometry
        rows = fft.next_fast_len(geometry.beam_count + geometry.beam_count // 4)
        columns = fft.next_fast_len(geometry.sample_count + 32)
        depth_mm = geometry.sample_depths_mm
        sigma_mm = self.lateral_fwhm_mm(depth_mm) / FWHM_PER_SIGMA
        sigma_beams = sigma_mm / self.beam_pitch_mm(depth_mm)
        sigma_beams = np.clip(sigma_beams, 0.3, geometry.beam_count / 12.0)
        lateral = np.exp(-0.5 * (2.0 * np.pi * fft.fftfreq(rows)[:, None] * sigma_beams) ** 2)
        # A pulse that the samples cannot hold is made as long as they can.
        sigma_samples = max(self.axial_sigma_mm / geometry.sample_step_mm, 0.8)
        axial = np.exp(-0.5 * (2.0 * np.pi * fft.fftfreq(columns) * sigma_samples) ** 2)
        axial *= np.sqrt(2.0 * np.pi) * sigma_samples
        return BeamTransfer(
            lateral=lateral.astype(np.float32),
            axial=axial.astype(np.float32),
            sigma_beams=sigma_beams,
            sigma_samples=float(sigma_samples),
        )


@dataclass(frozen=True, eq=False)
class BeamTransfer:
    """Transfer functions of the blur: laterally of unit sum, axially of unit peak.

    A surface across all beams keeps its amplitude, a point keeps it along its own beam.
    """

    lateral: Float32[np.ndarray, "padded_beams samples"]
    axial: Float32[np.ndarray, " padded_samples"]
    sigma_beams: Float64[np.ndarray, " samples"]
    sigma_samples: float

    def blur_across(
        self, signal: Complex64[np.ndarray, "beams samples"]
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Convolve across beams with the profile of each depth."""
        spectrum = fft.fft(signal, n=self.lateral.shape[0], axis=0)
        spectrum *= self.lateral
        blurred = fft.ifft(spectrum, axis=0, overwrite_x=True)
        return np.ascontiguousarray(blurred[: signal.shape[0]])

    def blur_along(
        self, signal: Complex64[np.ndarray, "beams samples"]
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Convolve along beams with the pulse."""
        spectrum = fft.fft(signal, n=self.axial.size, axis=1)
        spectrum *= self.axial
        blurred = fft.ifft(spectrum, axis=1, overwrite_x=True)
        return np.ascontiguousarray(blurred[:, : signal.shape[1]])
