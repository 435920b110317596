"""Distances to a mesh and points on it."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, triangle_normals

Maker = Callable[..., Mesh]


def test_distances_by_hand(square: Maker) -> None:
    # A square of 10 mm at height 0: above its middle, beside its edge, beyond its corner.
    query = SurfaceQuery(square(10.0))
    points = np.array([[0, 0, 3], [0, 0, -2], [9, 0, 0], [8, 9, 0], [8, 9, 12]], np.float32)
    # The edge is at 5: the third is 9 - 5 away; the last two are hypotenuses, of 3, 4 and 5, 12.
    np.testing.assert_allclose(query.distances_mm(points), [3, 2, 4, 5, 13], rtol=1e-5)


def test_first_hit(square: Maker) -> None:
    hits = SurfaceQuery(square(10.0)).first_hits_mm(
        np.array([[0.0, 0, 7], [0, 0, 7]]), np.array([[0.0, 0, -1], [0, 0, 1]])
    )
    assert hits[0] == pytest.approx(7.0)
    assert np.isinf(hits[1])


def test_points_are_uniform_by_area() -> None:
    # Two triangles with areas 1 and 9.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [10, 0, 0], [13, 0, 0], [10, 6, 0]])
    mesh = Mesh(vertices.astype(np.float32), np.array([[0, 1, 2], [3, 4, 5]], np.int32))
    points, triangle = sample_surface(mesh, 10_000)
    assert np.mean(triangle == 0) == pytest.approx(0.1, abs=0.001)
    # The mean of uniform points is the centroid: (1/3, 2/3) and (11, 2).
    np.testing.assert_allclose(points[triangle == 0].mean(axis=0), [1 / 3, 2 / 3, 0], atol=0.03)
    np.testing.assert_allclose(points[triangle == 1].mean(axis=0), [11, 2, 0], atol=0.05)


def test_same_seed_same_points(square: Maker) -> None:
    first, _ = sample_surface(square(10.0), 100, seed=3)
    again, _ = sample_surface(square(10.0), 100, seed=3)
    other, _ = sample_surface(square(10.0), 100, seed=4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_points_lie_on_the_surface(ball: Maker) -> None:
    points, _ = sample_surface(ball(10.0), 1000)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 10.0, rtol=1e-3)


def test_normals(square: Maker, ball: Maker) -> None:
    np.testing.assert_allclose(triangle_normals(square(4.0)), [[0, 0, 1], [0, 0, 1]])
    mesh = ball(10.0)
    middle = mesh.corners_mm().mean(axis=1)
    cosine = np.sum(triangle_normals(mesh) * middle, axis=1) / np.linalg.norm(middle, axis=1)
    assert cosine.min() > 0.999


def test_nothing_to_measure_against() -> None:
    with pytest.raises(InputError, match="no triangles"):
        SurfaceQuery(Mesh.empty())
    with pytest.raises(InputError, match="no area"):
        sample_surface(Mesh.empty(), 10)
