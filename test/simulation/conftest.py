"""A probe and phantoms that several tests look at."""

import numpy as np
import pytest

from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.imager import Imager, ImagerSettings
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.scene import on_grid

QUIET = ImagerSettings(
    noise_db=-150.0,
    ring_down_db=-150.0,
    clutter_db=-150.0,
    reverberation=0.0,
    saturation_db=100.0,
    coupling_mm=100.0,
)


@pytest.fixture(scope="session")
def linear() -> ProbeGeometry:
    return ProbeGeometry.linear(
        38.4, 60.0, 307, 480, beam_count=192, sample_count=512, centre_frequency_mhz=5.0
    )


@pytest.fixture(scope="session")
def uniform(linear: ProbeGeometry) -> Imager:
    """Uniform tissue of 0.5 dB/cm/MHz without noise, seen with that probe."""
    return Imager(on_grid(Phantom(), 5.0, 2.0), linear, QUIET, seed=3)


@pytest.fixture
def at_origin() -> np.ndarray:
    return np.eye(4)
