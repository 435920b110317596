"""A beam-space B-mode simulator.

Echoes of point scatterers and of reflecting surfaces are laid into beam space with their phase,
weakened by the attenuation and transmission of what lies in front, blurred by the point spread
function, joined by what reverberates, mixed with noise, amplified and compressed. Each part is a
module of its own. Source of the parts: Szabo, Diagnostic Ultrasound Imaging, chapters 7 (beams),
8 (scattering) and 10 (receive chain).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex64, Float32, Float64, UInt8

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_image
from us_recon.settings import setting
from us_recon.simulation.scanner.beam import Beam, BeamSettings
from us_recon.simulation.scanner.compression import Compression, CompressionSettings
from us_recon.simulation.scanner.contact import ContactSettings
from us_recon.simulation.scanner.near_field import DriftingNoise, NearField, NearFieldSettings
from us_recon.simulation.scanner.propagation import CENTRE_PLANE, Propagation, SliceSampler, resize
from us_recon.simulation.scanner.receive import Receiver, ReceiveSettings
from us_recon.simulation.scanner.reverberation import ReverberationSettings, add_repeats, haze_level
from us_recon.simulation.scanner.speckle import Speckle, SpeckleSettings
from us_recon.simulation.scanner.specular import surface_echoes
from us_recon.simulation.scene import SceneGrid

SOFT_TISSUE_DB_CM_MHZ = 0.6  # attenuation, one way, beyond which a label counts loss as shadow


@dataclass(frozen=True)
class ImagerSettings(
    CompressionSettings,
    ContactSettings,
    NearFieldSettings,
    ReverberationSettings,
    ReceiveSettings,
    SpeckleSettings,
):
    """All settings of the virtual scanner; each part takes its own."""

    reflector_db: float = setting(
        55.0, "Echo of a perfect mirror relative to the speckle of soft tissue.", unit="dB"
    )
    label_depth_mm: float = setting(
        3.0, "How far behind a visible surface a label reaches.", unit="mm", minimum=0.1
    )
    label_shadow_db: float = setting(
        20.0,
        "Loss there and back, beyond that of soft tissue, from which nothing is labelled.",
        unit="dB",
        minimum=0.0,
    )


class Imager:
    """Simulate images of one scene with one probe.

    Args:
        scene: The scene on a grid.
        geometry: Probe; its centre frequency must be known.
        settings: The scanner's.
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
        self.settings = settings = settings or ImagerSettings()
        self.beam = Beam(geometry, beam or BeamSettings())
        self.seed = seed
        self.compression = Compression(self.beam, settings)
        self._shape = (geometry.beam_count, geometry.sample_count)
        self._transfer = self.beam.transfer()
        self._speckle = Speckle(self.beam, self._transfer, settings, self.compression, seed)
        self._sampler = SliceSampler(self.beam, self.compression, settings)
        self._haze = DriftingNoise(self._transfer, self._shape, seed, settings.clutter_drift_mm)
        self._near_field = NearField(self.beam, settings, self._haze)
        self._receiver = Receiver(geometry, settings)

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
        grey = self._receiver.grey(beams_db)
        return (to_image(grey, self.geometry) + 0.5).astype(np.uint8)

    def beams_db(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], shot: int = 0
    ) -> Float32[np.ndarray, "beams samples"]:
        """Return the envelope after gain in dB; 0 is the speckle of average soft tissue."""
        return self._receiver.level_db(self.echo_signal(T_scene_transducer, shot))

    def echo_signal(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], shot: int = 0
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return the demodulated echo signal with pulse and noise, before gain."""
        signal = self.echoes(T_scene_transducer)
        sigma_samples = self._transfer.sigma_samples
        signal += self._receiver.noise(self._shape, sigma_samples, (self.seed, shot))
        return self._transfer.blur_along(signal)

    def echoes(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return the echoes blurred across beams, before pulse, noise and gain."""
        settings, interfaces = self.settings, self.scene.interfaces
        paths = self._sampler.sample(self.scene, T_scene_transducer)
        mirror = 10.0 ** (settings.reflector_db / 20.0)
        signal = self._speckle.echoes(paths) * paths.transmission
        signal += surface_echoes(paths, interfaces, self.compression, mirror, self.seed)
        signal = self._transfer.blur_across(signal)
        step_mm = self.geometry.sample_step_mm
        signal = add_repeats(signal, paths.block, interfaces, settings.reverberation, step_mm)
        haze = haze_level(paths.block, interfaces, self.geometry.sample_depths_mm)
        if haze is not None:
            signal += haze * self._haze.at(T_scene_transducer, self.geometry.sample_count)
        self._near_field.add_to(signal, T_scene_transducer, paths.contact[:, 0])
        return signal

    def label(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "rows columns"]:
        """Return what an annotator would mark of the scene's target: 255 there, 0 elsewhere.

        Of a surface that shadows, the face that is seen and `label_depth_mm` behind it; of a solid
        that sound passes, its inside. Neither where beams have no contact, and a solid not in the
        shadow of something else.
        """
        paths = self._sampler.sample(self.scene, T_scene_transducer)
        marked = self._inside(paths) if self.scene.target_is_solid else self._face(paths)
        image = to_image(marked.astype(np.float32), self.geometry) > 0.5
        return image.astype(np.uint8) * np.uint8(255)

    def _face(self, paths: Propagation) -> Bool[np.ndarray, "beams samples"]:
        block = paths.block
        behind_mm = self.geometry.sample_depths_mm[None, :] - block.depth_mm[:, None]
        marked = (behind_mm >= 0) & (behind_mm <= self.settings.label_depth_mm)
        if self.scene.target:
            marked &= (block.interface == self._target_number())[:, None]
        coupled = resize(paths.contact * paths.contact, self._shape)
        return marked & (coupled > 10.0 ** (-self.settings.label_shadow_db / 20.0))

    def _inside(self, paths: Propagation) -> Bool[np.ndarray, "beams samples"]:
        level_set = paths.level_sets_mm[self._target_number(), CENTRE_PLANE]
        db_mm = 0.2 * SOFT_TISSUE_DB_CM_MHZ * self.geometry.centre_frequency_mhz
        least_db = -self.settings.label_shadow_db - db_mm * self.geometry.sample_depths_mm
        seen = paths.transmission > 10.0 ** (least_db / 20.0)
        return np.asarray((resize(level_set, self._shape) < 0) & seen)

    def _target_number(self) -> int:
        names = [interface.name for interface in self.scene.interfaces]
        if self.scene.target not in names:
            raise ConfigError(
                f"the scene's target is {self.scene.target!r}; expected one of its interfaces: "
                f"{', '.join(names)}"
            )
        return names.index(self.scene.target)
