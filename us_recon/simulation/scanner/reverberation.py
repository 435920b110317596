"""Echoes that went up and down more than once between a strong reflector and the probe's face.

Each round trip shows the picture once more, as much deeper as the reflector lies deep. Behind gas
the many trips through the tissue in front also leave a haze, the dirty shadow. Strengths are set by
us.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Complex64
from numpy.typing import NDArray

from us_recon.compiled import compiled
from us_recon.settings import setting
from us_recon.simulation.scanner.propagation import FirstBlock
from us_recon.simulation.scene import Interface

ORDERS = 3
HAZE_EDGE_BEAMS = 2.0  # standard deviation of the soft side


@dataclass(frozen=True)
class ReverberationSettings:
    """How much the probe's face sends back."""

    reverberation: float = setting(
        0.025,
        "Reflectivity of the probe's face, which sends bone echoes back.",
        minimum=0.0,
        maximum=1.0,
    )


def add_repeats(
    signal: Complex64[np.ndarray, "beams samples"],
    block: FirstBlock,
    interfaces: tuple[Interface, ...],
    face: float,
    step_mm: float,
) -> Complex64[np.ndarray, "beams samples"]:
    """Return the picture with itself, once to `ORDERS` times delayed by the first reflector.

    Args:
        signal: Echoes of the direct way.
        block: First blocking surface of each beam.
        interfaces: Each with the strength of its repeats.
        face: Reflectivity of the probe's face.
        step_mm: Distance of two samples.
    """
    of_interface = np.array([item.repeats for item in interfaces] + [0.0])
    strength = np.minimum(face * of_interface[block.interface] * block.echo, 1.0)
    delay = np.where(block.interface >= 0, np.rint(block.depth_mm / step_mm), signal.shape[1])
    total = signal.copy()
    _add_repeats(signal, delay.astype(np.int64), strength.astype(np.float32), total)
    return total


def haze_level(
    block: FirstBlock, interfaces: tuple[Interface, ...], depth_mm: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Return the amplitude of the haze at each beam and sample, or None where there is none."""
    level_db = np.array([item.haze_db for item in interfaces] + [-np.inf])[block.interface]
    if not np.isfinite(level_db).any():
        return None
    fall_db_cm = np.array([item.haze_db_cm for item in interfaces] + [0.0])[block.interface]
    beyond_mm = depth_mm[None, :] - np.where(block.interface >= 0, block.depth_mm, 0.0)[:, None]
    shown_db = level_db[:, None] - fall_db_cm[:, None] * beyond_mm / 10.0
    level = block.transmission[:, None] * 10.0 ** (shown_db / 20.0)
    level = np.where(beyond_mm > 0, level, 0.0).astype(np.float32)
    # Neighbouring beams share their aperture: the haze has no sharp sides.
    return np.asarray(cv2.GaussianBlur(level, (1, 0), 0.1, sigmaY=HAZE_EDGE_BEAMS))


@compiled
def _add_repeats(
    signal: NDArray[np.complex64],
    delay: NDArray[np.int64],
    strength: NDArray[np.float32],
    total: NDArray[np.complex64],
) -> None:
    samples = signal.shape[1]
    for beam in range(signal.shape[0]):
        kept = np.float32(1.0)
        for order in range(1, ORDERS + 1):
            kept *= strength[beam]
            for sample in range(order * delay[beam], samples):
                total[beam, sample] += kept * signal[beam, sample - order * delay[beam]]
