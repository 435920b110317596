"""The parts of a prior by hand: distances, components, interpolation, derivatives, files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import exp_se3
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.prior.components import principal_components
from us_recon.occupancy.prior.distance import SignedSurface, edge_vertices
from us_recon.occupancy.prior.files import read_prior, write_prior
from us_recon.occupancy.prior.fit import _linearised
from us_recon.occupancy.prior.observation import Observation, observation
from us_recon.occupancy.prior.search import distinct, rotations
from us_recon.occupancy.prior.settings import FitSettings
from us_recon.occupancy.prior.shape import ShapePrior, Training


@pytest.fixture(scope="module")
def small() -> ShapePrior:
    """Signed distance to the plane x = 5 mm, and one mode that moves it by 2 mm."""
    grid = Grid((0.0, 0.0, 0.0), 1.0, (11, 8, 9))
    x = np.indices(grid.shape)[0].astype(np.float32)
    fields = np.stack([x - 5.0, np.full_like(x, -2.0)], axis=-1)
    known = np.ones(grid.shape, bool)
    return ShapePrior(grid, fields, known, Training("plane", ("a", "b"), 0.9, 0.1))


def test_sign_at_an_open_plate(square: Callable[..., Mesh]) -> None:
    surface = SignedSurface(square(10.0))
    points = np.array([(0, 0, 2), (1, 1, -3), (9, 0, 0)], np.float32)
    nearest = surface.nearest(points)
    np.testing.assert_allclose(nearest.distance_mm, [2, -3, 4], atol=1e-5)
    assert not surface.is_closed
    # All vertices of two triangles lie on the edge, so that nothing is inside of the plate.
    assert edge_vertices(square(10.0)).all()
    assert not nearest.inner.any()


def test_sign_around_a_ball(ball: Callable[..., Mesh]) -> None:
    surface = SignedSurface(ball(10.0))
    points = np.random.default_rng(1).uniform(-15, 15, (500, 3))
    expected = np.linalg.norm(points, axis=1) - 10.0
    nearest = surface.nearest(points)
    np.testing.assert_allclose(nearest.distance_mm, expected, atol=0.02)
    assert surface.is_closed and nearest.inner.all()


def test_components_by_hand() -> None:
    # Four subjects along (3, 4, 0) / 5 at -3, -1, 1, 3: variance 20 / 3.
    along = np.array([-3.0, -1.0, 1.0, 3.0])
    values = (10.0 + along[:, None] * np.array([0.6, 0.8, 0.0])).astype(np.float32)
    found = principal_components(values, np.ones_like(values, bool), np.ones(3, np.float32), 3)
    assert len(found.modes) == 1
    np.testing.assert_allclose(found.mean, 10.0)
    np.testing.assert_allclose(np.abs(found.modes[0]), np.sqrt(20 / 3) * np.array([0.6, 0.8, 0]),
                               atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(found.mean + found.scores @ found.modes, values, atol=1e-5)
    assert found.explained == pytest.approx(1.0)


def test_unknown_values_come_from_the_modes() -> None:
    rng = np.random.default_rng(0)
    shapes, scores = rng.normal(size=(2, 60)), rng.normal(size=(12, 2))
    values = (scores @ shapes + 1.0).astype(np.float32)
    known = rng.random(values.shape) > 0.2
    spoilt = np.where(known, values, 1e6).astype(np.float32)
    found = principal_components(spoilt, known, np.ones(60, np.float32), 2)
    guess = found.mean + found.scores @ found.modes
    assert np.abs(guess - values)[~known].mean() < 0.1 * np.abs(values - values.mean(0)).mean()


def test_interpolation_by_hand(small: ShapePrior) -> None:
    points = np.array([(2.5, 3.2, 1.1), (13.0, 2.0, 2.0), (6.0, 10.0, 4.0)])
    found = small.distances(points, np.array([0.5]))
    # x - 5 - 1; 3 mm beyond the border at 10; 3 mm beyond y = 7.
    np.testing.assert_allclose(found.value_mm, [-3.5, 7.0, 3.0])
    np.testing.assert_allclose(found.gradient, [(1, 0, 0), (1, 0, 0), (1, 1, 0)])
    np.testing.assert_allclose(found.modes_mm, -2.0)


def test_mesh_of_a_member(small: ShapePrior) -> None:
    face = small.mesh(np.array([0.5])).vertices_mm
    inner = (face[:, 0] > 1) & (face[:, 1] > 0) & (face[:, 1] < 7)
    np.testing.assert_allclose(face[inner & (face[:, 2] > 0) & (face[:, 2] < 8), 0], 6.0, atol=1e-3)
    assert small.mesh(np.array([-5.0])).is_empty


def test_gradient_of_the_cost(prior: ShapePrior) -> None:
    """Against differences, with normals that agree so that only distances move the cost."""
    rng = np.random.default_rng(3)
    T, c = exp_se3(np.array([1.0, -2.0, 0.5, 0.1, 0.05, -0.1])), rng.normal(size=prior.mode_count)
    vertices = prior.mean_mesh.vertices_mm[::40]
    free = vertices[::3] - 1.0
    none = np.zeros_like(vertices)
    settings = FitSettings(free_weight=0.5)
    seen = Observation(vertices, none, np.zeros(len(vertices), np.float32), free, 1.0)
    at = _linearised(prior, seen, T, c, settings, 3.0)
    step = 1e-5
    for k in range(6 + prior.mode_count):
        move = np.zeros(6 + prior.mode_count)
        move[k] = step
        costs = [
            _linearised(
                prior, seen, exp_se3(s * move[:6]) @ T, c + s * move[6:], settings, 3.0
            ).cost
            for s in (-1, 1)
        ]
        slope = (costs[1] - costs[0]) / (2 * step)
        assert 2 * at.gradient[k] == pytest.approx(slope, rel=2e-2, abs=0.05)


def test_patches_have_the_area_of_the_surface(ball: Callable[..., Mesh]) -> None:
    settings = FitSettings(patch_mm=4.0)
    seen = observation(ball(20.0), np.zeros((0, 3), np.float32), settings)
    area_patches = 4 * np.pi * 20**2 / 16
    assert seen.patches == pytest.approx(area_patches, rel=0.15)
    outward = seen.points_mm / np.linalg.norm(seen.points_mm, axis=1, keepdims=True)
    assert (outward * seen.normals).sum(axis=1).min() > 0.9
    free = np.array([(0, 0, 21), (0, 0, 30), (0, 0, 30.5), (0, 0, 40)], np.float32)
    kept = observation(ball(20.0), free, settings).free_mm
    np.testing.assert_array_equal(np.sort(kept[:, 2]), [30, 40])


def test_rotations_are_spread_evenly(prior: ShapePrior) -> None:
    spread = rotations(1200)
    rng = np.random.default_rng(0)
    from scipy.spatial.transform import Rotation

    for probe in Rotation.random(30, random_state=rng):
        assert np.degrees((spread * probe.inv()).magnitude().min()) < 25.0
    near, far = exp_se3(np.array([0.5, 0, 0, 0, 0, 0])), exp_se3(np.array([0, 0, 9.0, 0, 0, 0]))
    kept = distinct(prior, [np.eye(4), near, far], 2.0, 5)
    assert len(kept) == 2 and kept[1] is far


def test_file_round_trip(small: ShapePrior, tmp_path: Path) -> None:
    write_prior(small, tmp_path / "prior.npz")
    again = read_prior(tmp_path / "prior.npz").shape
    assert (again.grid, again.training) == (small.grid, small.training)
    np.testing.assert_array_equal(again.fields_mm, small.fields_mm)
    np.testing.assert_array_equal(again.known, small.known)


def test_bad_files(small: ShapePrior, tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    with pytest.raises(InputError, match="no such file"):
        read_prior(path)
    path.write_text("text")
    with pytest.raises(InputError, match="is not a shape prior"):
        read_prior(path)
    write_prior(small, path)
    parts = dict(np.load(path))
    header = json.loads(str(parts["header"]))
    for key, value, complaint in (
        ("version", 99, "version 99"),
        ("format", "a map", "expected 'us_recon shape prior'"),
        ("grid", {**header["grid"], "shape": [2, 2, 2]}, "on a grid of"),
    ):
        text = np.array(json.dumps({**header, key: value}))
        np.savez(path, **{**parts, "header": text})
        with pytest.raises(InputError, match=complaint):
            read_prior(path)
