"""Pictures of meshes."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.evaluation.pictures import (
    Camera,
    Painted,
    fitted_camera,
    lengthwise_up,
    render,
    render_mesh,
    vertex_normals,
)
from us_recon.occupancy.mesh import Mesh

Maker = Callable[..., Mesh]


def test_square_covers_what_it_should(square: Maker) -> None:
    # 40 mm at 0.5 mm per pixel, seen from above: 80 by 80 pixels about the middle.
    camera = Camera(np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.zeros(3), 0.5)
    picture = render([Painted(square(40.0), (1.0, 0.0, 0.0))], camera, (200, 160))
    assert picture.shape == (160, 200, 3)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max()) == (40, 119)
    assert (columns.min(), columns.max()) == (60, 139)
    assert (picture[5, 5] == 255).all()


def test_nearer_hides_farther(square: Maker) -> None:
    camera = Camera(np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.zeros(3), 0.5)
    np.testing.assert_allclose(camera.forward, [0, 0, -1])  # from above
    items = [
        Painted(square(40.0, 0.0), (1.0, 0.0, 0.0)),
        Painted(square(20.0, 5.0), (0.0, 0.0, 1.0)),
    ]
    for order in (items, items[::-1]):
        picture = render(order, camera, (200, 160))
        assert picture[80, 100, 2] > 150 > picture[80, 100, 0]
        assert picture[80, 65, 0] > 150 > picture[80, 65, 2]


def test_ball_is_shaded_from_the_upper_left(ball: Maker) -> None:
    picture = render_mesh(ball(10.0), (0, 1, 0), (0, 0, 1), (200, 200)).astype(int).sum(axis=-1)
    assert picture[70, 70] > picture[130, 130] + 60
    np.testing.assert_array_equal(
        render_mesh(ball(10.0), size_px=(100, 80)), render_mesh(ball(10.0), size_px=(100, 80))
    )


def test_colour_per_vertex(square: Maker) -> None:
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]], np.float32)  # left red
    camera = Camera(np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.zeros(3), 0.5)
    picture = render([Painted(square(40.0), colours)], camera, (200, 160)).astype(int)
    assert picture[80, 65, 0] > picture[80, 65, 1]
    assert picture[80, 135, 1] > picture[80, 135, 0]


def test_empty_mesh_has_a_picture() -> None:
    picture = render_mesh(Mesh.empty(), size_px=(200, 100))
    assert picture.shape == (100, 200, 3)
    assert (picture < 255).any()  # it says that there is no surface


def test_fitted_camera_holds_all_points(ball: Maker) -> None:
    # A ball of 10 mm in 200 x 100 pixels: its 20 mm fill 90 of 100 rows.
    camera = fitted_camera(
        ball(10.0, (3.0, 4.0, 5.0)).vertices_mm, (0, 1, 0), (0, 0, 1), (200, 100)
    )
    assert camera.mm_per_px == pytest.approx(20.0 / 90.0, rel=1e-3)
    np.testing.assert_allclose(camera.centre_mm, [3, 4, 5], atol=1e-2)
    np.testing.assert_allclose(camera.forward, [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(camera.down, [0, 0, -1], atol=1e-9)
    with pytest.raises(InputError, match="parallel"):
        fitted_camera(ball(1.0).vertices_mm, (0, 0, 1), (0, 0, 2), (10, 10))


def test_longest_extent_runs_across() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(500, 3)) * [1.0, 5.0, 40.0]  # long along z
    up = lengthwise_up(points.astype(np.float32), (1.0, 0.0, 0.0))
    # Seen along x with z across the picture, up is y.
    np.testing.assert_allclose(np.abs(up), [0, 1, 0], atol=0.05)


def test_vertex_normals_of_a_ball(ball: Maker) -> None:
    mesh = ball(10.0)
    np.testing.assert_allclose(vertex_normals(mesh), mesh.vertices_mm / 10.0, atol=0.01)
