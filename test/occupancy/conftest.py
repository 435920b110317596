"""Synthetic images and surfaces whose answers are known."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.surface import BeamSurface, SurfaceSource

TISSUE, BONE, DARK = 110.0, 230.0, 8.0


@pytest.fixture(scope="session")
def linear() -> ProbeGeometry:
    """A linear array, 40 mm wide and 40 mm deep, 0.1 mm pixels; row r is at (r + 0.5) / 10 mm."""
    return ProbeGeometry.linear(40.0, 40.0, 400, 400, beam_count=80, sample_count=401)


@pytest.fixture(scope="session")
def speckle() -> Callable[..., np.ndarray]:
    """Return grey levels of homogeneous tissue that fades with depth, with correlated speckle."""

    def make(shape: tuple[int, int], seed: int = 0, fade: float = 0.3) -> np.ndarray:
        random = np.random.default_rng(seed)
        noise = cv2.GaussianBlur(random.normal(size=shape), (0, 0), sigmaX=4.0, sigmaY=1.5)
        rows = np.linspace(0.0, 1.0, shape[0])[:, None]
        return TISSUE * (1.0 - fade * rows) + 15.0 * noise / noise.std()

    return make


@pytest.fixture(scope="session")
def bone_image(speckle: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return an image of bone at a depth (mm) per column; NaN where there is none."""

    def make(
        geometry: ProbeGeometry,
        depth_mm: np.ndarray,
        seed: int = 0,
        shadow: bool = True,
        half_mm: float = 0.4,
    ) -> np.ndarray:
        image = speckle(geometry.shape, seed)
        rows_mm = geometry.pixels_to_mm(geometry.pixel_grid)[..., 1]
        below_mm = rows_mm - depth_mm[None, :]
        if shadow:
            image = np.where(below_mm > half_mm, DARK + 0.05 * image, image)
        echo = np.exp(-0.5 * (below_mm / half_mm) ** 2)
        image = np.where(np.isfinite(echo), image + (BONE - image) * echo, image)
        return np.clip(image, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def flat_surface(linear: ProbeGeometry) -> Callable[..., BeamSurface]:
    """Return a surface at one depth, or one depth per beam, seen with full confidence."""

    def make(depth_mm: float | np.ndarray, geometry: ProbeGeometry = linear) -> BeamSurface:
        beams = geometry.beam_count
        return BeamSurface(
            geometry=geometry,
            depth_mm=np.broadcast_to(np.float32(depth_mm), (beams,)).astype(np.float32),
            confidence=np.ones(beams, np.float32),
            contact=np.ones(beams, bool),
            source=SurfaceSource.LABEL,
        )

    return make


@pytest.fixture(scope="session")
def frame_at(linear: ProbeGeometry) -> Callable[..., TrackedFrame]:
    """Return a dark frame at a pose; the maps look at its pose alone."""

    def make(
        T_world_transducer: np.ndarray, geometry: ProbeGeometry = linear, stamp_ns: int = 0
    ) -> TrackedFrame:
        image = np.zeros(geometry.shape, np.uint8)
        return TrackedFrame(stamp_ns, image, T_world_transducer, geometry)

    return make
