"""Acoustic volumes of known content, and a probe."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from us_recon.acoustics.volume import AcousticVolume
from us_recon.geometry.rigid import make_rigid
from us_recon.geometry.se3_torch import exp_se3
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

SPACING_MM = 0.5
SHAPE = (60, 70, 60)


@pytest.fixture(scope="session")
def layered() -> Callable[..., AcousticVolume]:
    """Return a maker of flat layers, 30 x 35 x 30 mm, with an array's face in the origin.

    Each argument is the value above and below a depth of 10 mm, or one value for both.
    """

    def make(
        impedance: float | tuple[float, float] = 1.6,
        attenuation: float | tuple[float, float] = 0.0,
        scatter: float | tuple[float, float] = 0.0,
    ) -> AcousticVolume:
        depth_mm = torch.arange(SHAPE[1], dtype=torch.float64) * SPACING_MM - 2.5
        fields = []
        for value in (impedance, attenuation, scatter, 1.0):
            above, below = value if isinstance(value, tuple) else (value, value)
            line = torch.where(depth_mm < 10.0, above, below).to(torch.float64)
            fields.append(line[None, :, None].expand(SHAPE).contiguous())
        return AcousticVolume(*fields, T_space_index=placed())

    return make


def placed() -> np.ndarray:
    """Affine of the volumes: x from -15, y (depth) from -2.5, z from -15 mm."""
    return make_rigid(np.eye(3), np.array([-15.0, -2.5, -15.0])) @ np.diag(
        [SPACING_MM, SPACING_MM, SPACING_MM, 1.0]
    )


@pytest.fixture(scope="session")
def mottled() -> AcousticVolume:
    """Smooth random tissue with a hole in which nothing is known."""
    rng = np.random.default_rng(0)
    bumps = [gaussian_filter(rng.standard_normal(SHAPE), 2.5) * 12.0 for _ in range(3)]
    inside = np.ones(SHAPE)
    inside[20:30, 30:40, 25:35] = 0.0
    return AcousticVolume(
        torch.from_numpy(1.6 + 0.15 * np.tanh(bumps[0])),
        torch.from_numpy(0.6 + 0.3 * np.tanh(bumps[1])),
        torch.from_numpy(np.exp(0.7 * bumps[2])),
        torch.from_numpy(inside),
        placed(),
    )


PROBES = {
    "linear": ProbeGeometry.linear(24.0, 25.0, 96, 100, beam_count=32, sample_count=120),
    "convex": ProbeGeometry.sector(
        ProbeKind.CONVEX, 20.0, 50.0, 25.0, 96, beam_count=32, sample_count=120
    ),
    "phased": ProbeGeometry.sector(
        ProbeKind.PHASED, 0.0, 60.0, 25.0, 96, beam_count=32, sample_count=120
    ),
}


@pytest.fixture(params=list(PROBES))
def probe(request: pytest.FixtureRequest) -> ProbeGeometry:
    """Return a probe of each kind."""
    return PROBES[request.param]


@pytest.fixture
def linear() -> ProbeGeometry:
    """Return the linear probe: 32 beams 0.75 mm apart, 120 samples 0.21 mm apart."""
    return PROBES["linear"]


@pytest.fixture
def oblique() -> torch.Tensor:
    """Return a pose that looks into the volumes at odd angles."""
    return exp_se3(torch.tensor([0.13, 0.27, 0.31, 0.05, 0.13, -0.04], dtype=torch.float64))
