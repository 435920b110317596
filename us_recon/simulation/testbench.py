"""A test bench for the scanner: probes, phantoms, and a receive chain without side effects.

Tests and benchmarks measure one effect at a time with it: `QUIET` turns all others off.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float64

from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.scene import Interface, SceneGrid, on_grid

QUIET = ImagerSettings(
    noise_db=-150.0,
    ring_down_db=-150.0,
    clutter_db=-150.0,
    reverberation=0.0,
    saturation_db=100.0,
    coupling_mm=100.0,
)
NO_GAIN = replace(QUIET, tgc_db_cm_mhz=0.0)
BONE = Interface("bone", 0.6, exponent=4.0, roughness=0.0, patchiness_db=0.0, blocks=True)
GAS = Interface(
    "gas", 0.999, roughness=0.0, patchiness_db=0.0, blocks=True, haze_db=0.0, haze_db_cm=10.0
)
LINEAR = ProbeGeometry.linear(
    38.4, 60.0, 307, 480, beam_count=192, sample_count=512, centre_frequency_mhz=5.0
)
CONVEX = ProbeGeometry.sector(
    ProbeKind.CONVEX, 40.0, 60.0, 60.0, 300, beam_count=128, centre_frequency_mhz=4.0
)
PHASED = ProbeGeometry.sector(
    ProbeKind.PHASED, 0.0, 80.0, 60.0, 300, beam_count=128, centre_frequency_mhz=4.0
)


def plate(spacing_mm: float = 1.0, **fields: object) -> SceneGrid:
    """Return a phantom on a grid, for a probe of 5 MHz."""
    return on_grid(Phantom(**fields), 5.0, spacing_mm)  # type: ignore[arg-type]


def several_views(imager: Imager, count: int = 6) -> Float64[np.ndarray, "views beams samples"]:
    """Return envelopes from poses far enough apart for independent speckle."""
    views = []
    for number in range(count):
        T = np.eye(4)
        T[2, 3] = 6.0 * number - 15.0
        views.append(10.0 ** (imager.beams_db(T).astype(np.float64) / 20.0))
    return np.stack(views)


def samples(first_mm: float, last_mm: float, geometry: ProbeGeometry = LINEAR) -> slice:
    """Return the samples between two depths."""
    step_mm = geometry.sample_step_mm
    return slice(round(first_mm / step_mm), round(last_mm / step_mm))


def mean_db(envelope: Float[np.ndarray, "..."]) -> float:
    """Return the mean power in dB."""
    return float(10.0 * np.log10((envelope.astype(np.float64) ** 2).mean()))
