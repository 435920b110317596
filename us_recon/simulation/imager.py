"""A beam-space B-mode simulator.

Echoes of point scatterers and of reflecting surfaces are laid into beam space with their phase,
weakened by the attenuation and transmission of what lies in front, blurred by the point spread
function, mixed with noise, and compressed. Source of the parts: Szabo, Diagnostic Ultrasound
Imaging, chapters 7 (beams), 8 (scattering) and 10 (receive chain).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64, UInt8

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_image
from us_recon.settings import setting
from us_recon.simulation.beam import Beam, BeamSettings
from us_recon.simulation.propagation import CENTRE_PLANE, Propagation, SliceSampler
from us_recon.simulation.scatterers import ScattererLattice
from us_recon.simulation.scene import SceneGrid
from us_recon.simulation.specular import sum_into_beams, surface_echoes

SLICE_REACH = 2.0  # scatterers beyond this many standard deviations of the slice are left out


@dataclass(frozen=True)
class ImagerSettings:
    """The receive chain of the virtual scanner."""

    dynamic_range_db: float = setting(
        60.0, "Range from black to white.", unit="dB", minimum=10.0, maximum=120.0
    )
    full_scale_db: float = setting(
        28.0, "Level shown white, relative to the speckle of average soft tissue.", unit="dB"
    )
    reflector_db: float = setting(
        55.0, "Echo of a perfect mirror relative to the speckle of soft tissue.", unit="dB"
    )
    tgc_db_cm_mhz: float = setting(
        0.6, "Attenuation that the time gain undoes, one way.", unit="dB/cm/MHz", minimum=0.0
    )
    tgc_limit_db: float = setting(60.0, "Largest time gain.", unit="dB", minimum=0.0)
    noise_db: float = setting(
        -58.0, "Electronic noise before gain, relative to soft tissue at the face.", unit="dB"
    )
    reverberation: float = setting(
        0.025, "Reflectivity of the probe's face, which sends bone echoes back.", minimum=0.0
    )
    ring_down_db: float = setting(25.0, "Haze at the face, relative to soft tissue.", unit="dB")
    ring_down_mm: float = setting(0.3, "Depth over which it fades.", unit="mm", minimum=0.01)
    scatterers_per_cell: float = setting(
        3.0, "Scatterers in the resolution cell at the focus.", minimum=1.0, maximum=50.0
    )
    label_depth_mm: float = setting(
        3.0, "How far behind a visible surface a label reaches.", unit="mm", minimum=0.1
    )


class Imager:
    """Simulate images of one scene with one probe.

    Args:
        scene: The scene on a grid.
        geometry: Probe; its centre frequency must be known.
        settings: Receive chain.
        beam: Pulse and focusing.
        seed: Tissue texture and noise.

    Raises:
        ConfigError: The probe has no centre frequency.
    """

    def __init__(
        self,
        scene: SceneGrid,
        geometry: ProbeGeometry,
        settings: ImagerSettings | None = None,
        beam: BeamSettings | None = None,
        seed: int = 0,
    ) -> None:
        if geometry.centre_frequency_mhz <= 0:
            raise ConfigError(
                "the probe's centre_frequency_mhz is 0 (unknown); the simulator needs it"
            )
        self.scene = scene
        self.geometry = geometry
        self.settings = settings or ImagerSettings()
        self.beam = Beam(geometry, beam or BeamSettings())
        self.seed = seed
        depth_mm = geometry.sample_depths_mm
        self._transfer = self.beam.transfer()
        self._slice_sigma_mm = self.beam.slice_sigma_mm(depth_mm).astype(np.float32)
        self._lattice = ScattererLattice(self._lattice_pitch_mm(), seed)
        self._speckle_scale = self._speckle_normalisation()
        self._sampler = SliceSampler(self.beam)
        gain_db = 0.2 * self.settings.tgc_db_cm_mhz * geometry.centre_frequency_mhz * depth_mm
        gain_db = np.minimum(gain_db, self.settings.tgc_limit_db)
        self._gain_db = gain_db.astype(np.float32)

    def image(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], shot: int = 0
    ) -> UInt8[np.ndarray, "rows columns"]:
        """Simulate one scan-converted image.

        Args:
            T_scene_transducer: Pose of the array face in the scene.
            shot: Number of the image; it seeds the electronic noise.
        """
        return self.convert(self.beams_db(T_scene_transducer, shot))

    def convert(
        self, beams_db: Float32[np.ndarray, "beams samples"]
    ) -> UInt8[np.ndarray, "rows columns"]:
        """Compress a beam-space level to grey values and scan-convert it."""
        settings = self.settings
        black_db = settings.full_scale_db - settings.dynamic_range_db
        grey = (beams_db - black_db) * np.float32(255.0 / settings.dynamic_range_db)
        grey = np.clip(grey, 0.0, 255.0)
        return (to_image(grey, self.geometry) + 0.5).astype(np.uint8)

    def beams_db(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], shot: int = 0
    ) -> Float32[np.ndarray, "beams samples"]:
        """Return the envelope after time gain in dB; 0 is the speckle of average soft tissue."""
        signal = self.echo_signal(T_scene_transducer, shot)
        level_db = np.float32(20.0) * np.log10(np.abs(signal) + np.float32(1e-9))
        return np.asarray(level_db + self._gain_db)

    def echo_signal(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], shot: int = 0
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return the demodulated echo signal with pulse and noise, before gain."""
        signal = self.echoes(T_scene_transducer)
        signal += self._noise(shot)
        return self._transfer.blur_along(signal)

    def echoes(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return the echoes blurred across beams, before pulse, noise and gain."""
        settings = self.settings
        paths = self._sampler.sample(self.scene, T_scene_transducer)
        mirror = 10.0 ** (settings.reflector_db / 20.0)
        signal = self._speckle(paths) * paths.transmission
        signal += surface_echoes(paths, self.scene.interfaces, self.beam, mirror, self.seed)
        signal = self._transfer.blur_across(signal)
        signal += self._reverberation(signal, paths)
        signal += self._ring_down()
        return signal

    def label(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "rows columns"]:
        """Return what an annotator would mark: the visible face of bone and what is just behind.

        Pixels behind the first blocking surface of each beam, down to `label_depth_mm`, are 255.
        """
        paths = self._sampler.sample(self.scene, T_scene_transducer)
        depth_mm = self.geometry.sample_depths_mm[None, :]
        behind_mm = depth_mm - paths.first_block_mm[:, None]
        inside = (behind_mm >= 0) & (behind_mm <= self.settings.label_depth_mm)
        marked = to_image(inside.astype(np.float32), self.geometry) > 0.5
        return marked.astype(np.uint8) * np.uint8(255)

    def _speckle(self, paths: Propagation) -> Complex64[np.ndarray, "beams samples"]:
        geometry = self.geometry
        reach_mm = SLICE_REACH * float(self._slice_sigma_mm.max())
        found = self._lattice.near_plane(paths.T_scene_transducer, geometry, reach_mm, 1.0)
        beam, sample = self.beam.locate(found.plane_mm[0], found.plane_mm[1])
        inside = (beam > -0.5) & (beam < geometry.beam_count - 0.5)
        inside &= (sample > -0.5) & (sample < geometry.sample_count - 0.5)
        kept = np.flatnonzero(inside)
        depth_mm = sample[kept] * np.float32(geometry.sample_step_mm)
        beam = (beam[kept] + np.float32(0.5)).astype(np.intp)
        sample = (sample[kept] + np.float32(0.5)).astype(np.intp)
        cell = beam * geometry.sample_count + sample
        elevation = found.plane_mm[2, kept]
        plane = np.rint(elevation / paths.plane_offsets_mm[-1]).astype(np.intp)
        plane = np.clip(plane, -1, 1) + CENTRE_PLANE
        elevation = elevation / self._slice_sigma_mm[sample]
        amplitude = np.exp(np.float32(-0.5) * elevation * elevation)
        amplitude *= self._speckle_scale[sample]
        amplitude *= paths.backscatter.reshape(-1)[plane * paths.transmission.size + cell]
        # The echo's phase follows its path there and back: speckle moves with the tissue.
        phase = found.phase_rad[kept] - np.float32(4.0 * np.pi / self.beam.wavelength_mm) * depth_mm
        echoes = amplitude * (np.cos(phase) + np.complex64(1j) * np.sin(phase))
        return sum_into_beams(cell, echoes, (geometry.beam_count, geometry.sample_count))

    def _reverberation(
        self, signal: Complex64[np.ndarray, "beams samples"], paths: Propagation
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Echo the whole picture once more behind bone: bone to face to tissue and back."""
        step_mm = self.geometry.sample_step_mm
        samples = np.arange(self.geometry.sample_count)
        delay = np.full(self.geometry.beam_count, samples.size)
        blocked = np.isfinite(paths.first_block_mm)
        delay[blocked] = np.rint(paths.first_block_mm[blocked] / step_mm).astype(int)
        source = samples[None, :] - delay[:, None]
        delayed = np.take_along_axis(signal, np.maximum(source, 0), axis=1)
        strength = self.settings.reverberation * paths.first_block_echo
        return np.where(source >= 0, delayed * strength[:, None], 0).astype(np.complex64)

    def _ring_down(self) -> Complex64[np.ndarray, "1 samples"]:
        depth_mm = self.geometry.sample_depths_mm
        level = 10.0 ** (self.settings.ring_down_db / 20.0)
        haze = level * np.exp(-depth_mm / self.settings.ring_down_mm)
        return haze[None, :].astype(np.complex64)

    def _noise(self, shot: int) -> Complex64[np.ndarray, "beams samples"]:
        shape = (self.geometry.beam_count, self.geometry.sample_count, 2)
        normal = np.random.default_rng([self.seed, shot]).standard_normal(shape, dtype=np.float32)
        pulse_energy = np.sqrt(np.pi) * self._transfer.sigma_samples
        level = 10.0 ** (self.settings.noise_db / 20.0) / np.sqrt(2.0 * pulse_energy)
        return (normal * np.float32(level)).view(np.complex64)[..., 0]

    def _lattice_pitch_mm(self) -> float:
        focus = np.array([min(self.beam.settings.focus_mm, self.geometry.depth_mm)])
        cell_mm3 = (
            self.beam.axial_fwhm_mm
            * self.beam.lateral_fwhm_mm(focus)[0]
            * self.beam.settings.slice_fwhm_mm
        )
        return float((cell_mm3 / self.settings.scatterers_per_cell) ** (1.0 / 3.0))

    def _speckle_normalisation(self) -> Float32[np.ndarray, " samples"]:
        """Return the factor that gives speckle of unit backscatter a mean square of 1.

        It is the energy of the point spread function times the scatterer density: Gaussian
        profiles integrate to sqrt(pi) sigma; the lateral one has unit sum, not unit peak.
        """
        depth_mm = self.geometry.sample_depths_mm
        per_sample_mm2 = self.beam.beam_pitch_mm(depth_mm) * self.geometry.sample_step_mm
        density = 1.0 / self._lattice.pitch_mm**3
        energy = np.sqrt(np.pi) * self._slice_sigma_mm * per_sample_mm2
        energy = energy * np.sqrt(np.pi) * self._transfer.sigma_samples
        energy = energy / (2.0 * np.sqrt(np.pi) * self._transfer.sigma_beams)
        return (1.0 / np.sqrt(np.maximum(density * energy, 1e-12))).astype(np.float32)
