"""The receive chain: electronic noise, gain, the amplifier's limit, and compression to grey.

Source: Szabo, Diagnostic Ultrasound Imaging, chapter 10.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.settings import setting

KNEE = 4.0  # Rapp's smoothness 2: how sharply the amplifier bends into its limit


@dataclass(frozen=True)
class ReceiveSettings:
    """Gain, limits and noise."""

    dynamic_range_db: float = setting(
        60.0, "Range from black to white.", unit="dB", minimum=10.0, maximum=120.0
    )
    full_scale_db: float = setting(
        28.0, "Level shown white, relative to the speckle of average soft tissue.", unit="dB"
    )
    tgc_db_cm_mhz: float = setting(
        0.6, "Attenuation that the time gain undoes, one way.", unit="dB/cm/MHz", minimum=0.0
    )
    tgc_limit_db: float = setting(60.0, "Largest time gain.", unit="dB", minimum=0.0)
    gain_db: float = setting(0.0, "Overall gain on top.", unit="dB")
    tgc_sliders_db: tuple[float, ...] = setting(
        (0.0,) * 8, "Sliders of the time gain, from the face down, equally spaced.", unit="dB"
    )
    saturation_db: float = setting(
        12.0, "Limit of the amplifier above white, after all gain.", unit="dB"
    )
    noise_db: float = setting(
        -58.0, "Electronic noise before gain, relative to soft tissue at the face.", unit="dB"
    )


class Receiver:
    """The receive chain of one probe.

    Args:
        geometry: Probe; its frequency and depth set the time gain.
        settings: Gain, limits and noise.

    Raises:
        ConfigError: There is no slider.
    """

    def __init__(self, geometry: ProbeGeometry, settings: ReceiveSettings) -> None:
        if len(settings.tgc_sliders_db) == 0:
            raise ConfigError("tgc_sliders_db is empty; give at least one slider, 0 for none moved")
        self._settings = settings
        depth_mm = geometry.sample_depths_mm
        time_db = 0.2 * settings.tgc_db_cm_mhz * geometry.centre_frequency_mhz * depth_mm
        sliders_db = slider_gain_db(settings.tgc_sliders_db, depth_mm / geometry.depth_mm)
        gain_db = np.minimum(time_db, settings.tgc_limit_db) + sliders_db + settings.gain_db
        self._gain_db = gain_db.astype(np.float32)
        self._limit_db = np.float32(settings.full_scale_db + settings.saturation_db)

    def level_db(
        self, signal: Complex64[np.ndarray, "beams samples"]
    ) -> Float32[np.ndarray, "beams samples"]:
        """Return the envelope after gain and limiter in dB.

        The limiter is Rapp's model of an amplifier, ``a / (1 + (a / limit)^4)^(1/4)`` (C. Rapp,
        Proc. 2nd European Conf. Satellite Communications, 1991).
        """
        level_db = np.float32(20.0) * np.log10(np.abs(signal) + np.float32(1e-9))
        level_db += self._gain_db
        # A millionth of a decibel does not matter: only what comes near the limit is bent.
        strong = level_db > self._limit_db - np.float32(30.0)
        over_db = level_db[strong] - self._limit_db
        ratio = np.power(np.float32(10.0), over_db * np.float32(KNEE / 20.0))
        level_db[strong] -= np.float32(20.0 / KNEE) * np.log10(np.float32(1.0) + ratio)
        return np.asarray(level_db)

    def grey(
        self, level_db: Float32[np.ndarray, "beams samples"]
    ) -> Float32[np.ndarray, "beams samples"]:
        """Compress levels to grey values from 0 to 255."""
        settings = self._settings
        black_db = settings.full_scale_db - settings.dynamic_range_db
        grey = (level_db - np.float32(black_db)) * np.float32(255.0 / settings.dynamic_range_db)
        return np.clip(grey, 0.0, 255.0)

    def noise(
        self, shape: tuple[int, int], sigma_samples: float, seed: tuple[int, int]
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return electronic noise that has its level once it is filtered by the pulse.

        Args:
            shape: Beams and samples.
            sigma_samples: Standard deviation of the pulse that filters it.
            seed: Seeds of the scanner and of the image.
        """
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal((*shape, 2), dtype=np.float32)
        energy = np.sqrt(np.pi) * sigma_samples
        level = 10.0 ** (self._settings.noise_db / 20.0) / np.sqrt(2.0 * energy)
        return (normal * np.float32(level)).view(np.complex64)[..., 0]


def slider_gain_db(
    sliders_db: tuple[float, ...], share: Float64[np.ndarray, " samples"]
) -> Float64[np.ndarray, " samples"]:
    """Return the gain of sliders that share the depth equally.

    In the middle of its part a slider has its whole effect; from one middle to the next the gain
    goes over in a smooth step.

    Args:
        sliders_db: Gain of each.
        share: Depths from 0 at the face to 1.
    """
    values = np.array(sliders_db, dtype=np.float64)
    at = np.clip(share * values.size - 0.5, 0.0, values.size - 1.0)
    upper = np.minimum(at.astype(int), max(values.size - 2, 0))
    t = at - upper
    lower = np.minimum(upper + 1, values.size - 1)
    return np.asarray(values[upper] + t * t * (3.0 - 2.0 * t) * (values[lower] - values[upper]))
