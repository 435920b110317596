"""A probe and phantoms that several tests look at."""

import numpy as np
import pytest

from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.scene import on_grid
from us_recon.simulation.testbench import LINEAR, QUIET


@pytest.fixture(scope="session")
def linear() -> ProbeGeometry:
    return LINEAR


@pytest.fixture(scope="session")
def uniform(linear: ProbeGeometry) -> Imager:
    """Uniform tissue of 0.5 dB/cm/MHz without noise, seen with that probe."""
    return Imager(on_grid(Phantom(), 5.0, 2.0), linear, QUIET, seed=3)


@pytest.fixture
def at_origin() -> np.ndarray:
    return np.eye(4)
