"""A population of shapes whose pose and shape are known."""

from collections.abc import Callable

import numpy as np
import pytest
from skimage.measure import marching_cubes

from us_recon.geometry.rigid import from_euler_xyz_deg, transform_points
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.shape import ShapePrior
from us_recon.occupancy.prior.training import Subject, train_prior

Bracket = Callable[..., Mesh]


@pytest.fixture(scope="session")
def bracket() -> Bracket:
    """Return an L with a foot, in mm: it looks the same from no two sides.

    Its long arm is `length_mm`, which is what differs between members; T moves it to the world.
    """

    def make(length_mm: float, T: np.ndarray | None = None, spacing_mm: float = 2.0) -> Mesh:
        low, high = np.array([-16.0, -16.0, -16.0]), np.array([70.0, 44.0, 34.0])
        shape = tuple(np.ceil((high - low) / spacing_mm).astype(int) + 1)
        points = low + np.indices(shape).reshape(3, -1).T * spacing_mm
        boxes = (
            ((0.0, -8.0, -6.0), (length_mm, 8.0, 6.0)),
            ((0.0, 0.0, -6.0), (12.0, 32.0, 6.0)),
            ((length_mm - 14.0, -8.0, 0.0), (length_mm, 4.0, 22.0)),
        )
        distance = np.min([_box(points, *map(np.array, ends)) for ends in boxes], axis=0)
        vertices, triangles, _, _ = marching_cubes(distance.reshape(shape), 0.013)
        world = low + vertices * spacing_mm
        if T is not None:
            world = transform_points(T, world.astype(np.float64))
        return Mesh(world.astype(np.float32), triangles.astype(np.int32))

    return make


def _box(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    off = np.abs(points - (low + high) / 2) - (high - low) / 2
    outside = np.linalg.norm(np.maximum(off, 0), axis=1)
    return np.asarray(outside + np.minimum(off.max(axis=1), 0))


def placed(seed: int) -> np.ndarray:
    """Return a pose far from the origin and turned by up to half a turn."""
    rng = np.random.default_rng(seed)
    return from_euler_xyz_deg(rng.uniform(-200, 200, 3), rng.uniform(-90, 90, 3))


@pytest.fixture(scope="session")
def subjects(bracket: Bracket) -> list[Subject]:
    """Five members, 44 to 56 mm long, in five poses."""
    lengths = np.linspace(44.0, 56.0, 5)
    return [Subject(f"{k}.ply", bracket(mm, placed(k))) for k, mm in enumerate(lengths)]


@pytest.fixture(scope="session")
def prior(subjects: list[Subject]) -> ShapePrior:
    """The prior of these subjects."""
    return train_prior(subjects, TrainingSettings(anatomy="bracket", modes=3, grid_mm=2.5))


@pytest.fixture(scope="session")
def place() -> Callable[[int], np.ndarray]:
    """Return a pose for a number."""
    return placed
