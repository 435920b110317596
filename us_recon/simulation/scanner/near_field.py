"""What every image shows right below the face, whatever lies there.

Ring-down: the transducer still vibrates from the transmit pulse. Clutter: sound reverberates in the
skin and fat and arrives late, as a haze with the character of speckle (Lediju et al., Ultrasonic
Imaging 30 (2008) 151, measure it). Lens echoes: where the face touches air, the pulse runs up and
down in the lens and each round trip draws one more line. Levels are set by us.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32, Float64

from us_recon.settings import setting
from us_recon.simulation.scanner.beam import SPEED_MM_US, Beam, BeamTransfer

LENS_SPEED_MM_US = 1.0  # silicone rubber, rounded; set by us
LENS_ECHOES = 12
WAVES = 8
LEVER_MM = 10.0  # a turn moves the tissue that makes clutter by this lever


@dataclass(frozen=True)
class NearFieldSettings:
    """Ring-down, clutter and the lens."""

    ring_down_db: float = setting(25.0, "Haze at the face, relative to soft tissue.", unit="dB")
    ring_down_mm: float = setting(0.3, "Depth over which it fades.", unit="mm", minimum=0.01)
    clutter_db: float = setting(
        -8.0, "Clutter of skin and fat at the face, relative to soft tissue.", unit="dB"
    )
    clutter_mm: float = setting(
        5.0, "Depth over which the clutter fades to 1/e.", unit="mm", minimum=0.1
    )
    clutter_drift_mm: float = setting(
        1.0, "Movement of the probe after which clutter has changed.", unit="mm", minimum=0.01
    )
    lens_mm: float = setting(0.8, "Thickness of the lens.", unit="mm", minimum=0.1)
    lens_echo_db: float = setting(
        38.0, "First echo of a lens in air, relative to soft tissue.", unit="dB"
    )
    lens_loss_db: float = setting(
        7.0, "What the lens' echo loses per round trip.", unit="dB", minimum=1.0
    )


class DriftingNoise:
    """Complex noise that is fixed to the transducer and changes as the transducer moves.

    It sums `WAVES` fixed fields whose phases turn at random rates with the pose (random Fourier
    features: Rahimi and Recht, NIPS 2007), so that two poses `length_mm` apart correlate by
    exp(-1/2), far ones by chance only, and equal ones wholly.

    Args:
        transfer: Point spread function; it is blurred across beams and has a mean square of 1
            once it is blurred along them too.
        shape: Beams and samples.
        seed: Pattern.
        length_mm: Movement over which it changes.
    """

    def __init__(
        self, transfer: BeamTransfer, shape: tuple[int, int], seed: int, length_mm: float
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        normal = rng.standard_normal((WAVES, *shape, 2), dtype=np.float32)
        blurred = np.stack([transfer.blur_across(f) for f in normal.view(np.complex64)[..., 0]])
        energy = 2.0 * WAVES * np.mean(transfer.lateral**2, axis=0)
        energy = energy * np.sqrt(np.pi) * transfer.sigma_samples
        self._fields = (blurred / np.sqrt(energy)).astype(np.complex64)
        self._rates = rng.normal(0.0, 1.0 / length_mm, (WAVES, 3, 3))

    def at(
        self, T_scene_transducer: Float64[np.ndarray, "4 4"], samples: int
    ) -> Complex64[np.ndarray, "beams samples"]:
        """Return the first samples of the noise at a pose."""
        rotation, place = T_scene_transducer[:3, :3], T_scene_transducer[:3, 3:]
        pose = np.hstack([place, LEVER_MM * rotation[:, :2]])
        turns = np.exp(1j * (self._rates * pose).sum(axis=(1, 2))).astype(np.complex64)
        total = self._fields[0, :, :samples] * turns[0]
        for field, turn in zip(self._fields[1:], turns[1:], strict=True):
            total += field[:, :samples] * turn
        return np.asarray(total)


class NearField:
    """The near field of one probe.

    Args:
        beam: Probe and pulse.
        settings: Levels and lengths.
        noise: Character of the clutter.
    """

    def __init__(self, beam: Beam, settings: NearFieldSettings, noise: DriftingNoise) -> None:
        depth_mm = beam.geometry.sample_depths_mm
        self._noise = noise
        self._ring_down = _amplitude(settings.ring_down_db) * np.exp(
            -depth_mm / settings.ring_down_mm
        )
        clutter = _amplitude(settings.clutter_db) * np.exp(-depth_mm / settings.clutter_mm)
        # Beyond ten lengths the clutter is below everything.
        self._clutter = clutter[depth_mm < 10.0 * settings.clutter_mm].astype(np.float32)
        self._lens = _lens_echoes(settings, depth_mm.size, beam.geometry.sample_step_mm)

    def add_to(
        self,
        signal: Complex64[np.ndarray, "beams samples"],
        T_scene_transducer: Float64[np.ndarray, "4 4"],
        contact: Float32[np.ndarray, " beams"],
    ) -> None:
        """Add ring-down to all beams, clutter to those in contact, lens echoes to the others."""
        signal += self._ring_down.astype(np.complex64)
        near = self._clutter.size
        clutter = self._noise.at(T_scene_transducer, near)
        signal[:, :near] += clutter * (contact[:, None] * self._clutter)
        lifted = np.flatnonzero(contact < 1.0)
        signal[lifted] += (1.0 - contact[lifted, None]) * self._lens


def _lens_echoes(
    settings: NearFieldSettings, count: int, step_mm: float
) -> Float32[np.ndarray, " samples"]:
    """Return a train of falling echoes; the scanner takes the lens for tissue of its own speed."""
    train = np.zeros(count, dtype=np.float32)
    period = settings.lens_mm * SPEED_MM_US / LENS_SPEED_MM_US / step_mm
    for number in range(1, LENS_ECHOES + 1):
        before = int(number * period)
        fraction = number * period - before
        if before + 1 < count:
            level = _amplitude(settings.lens_echo_db - (number - 1) * settings.lens_loss_db)
            train[before] += level * (1.0 - fraction)
            train[before + 1] += level * fraction
    return train


def _amplitude(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))
