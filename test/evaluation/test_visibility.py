"""What a sweep could see."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.evaluation.visibility import View, visible_points
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, triangle_normals

Maker = Callable[..., Mesh]
LINEAR = ProbeGeometry.linear(40.0, 60.0, 80, 120)


def above(height_mm: float, y_mm: float, geometry: ProbeGeometry = LINEAR) -> View:
    """Look down from a height: depth along -z, elevation along the world's y."""
    pose = from_euler_xyz_deg(np.array([0.0, y_mm, height_mm]), np.array([-90.0, 0.0, 0.0]))
    return View(pose, geometry)


def seen(
    mesh: Mesh, views: list[View], max_incidence_deg: float = 90.0
) -> tuple[np.ndarray, np.ndarray]:
    points, triangle = sample_surface(mesh, 20_000)
    normals = triangle_normals(mesh)[triangle]
    visible = visible_points(
        SurfaceQuery(mesh), points, normals, views, max_incidence_deg=max_incidence_deg
    )
    return points, visible


def test_upper_half_of_a_ball(ball: Maker) -> None:
    points, visible = seen(ball(10.0), [above(40.0, y) for y in np.arange(-12.0, 13.0, 2.0)])
    assert visible[points[:, 2] > 0.5].all()
    assert not visible[points[:, 2] < -0.5].any()


def test_only_within_the_slice(ball: Maker) -> None:
    points, visible = seen(ball(10.0), [above(40.0, 3.0)])
    # Slices reach 2 mm to either side.
    assert np.abs(points[visible, 1] - 3.0).max() <= 2.0
    assert visible[(np.abs(points[:, 1] - 3.0) < 1.9) & (points[:, 2] > 0.5)].all()


def test_only_within_width_and_depth(square: Maker) -> None:
    points, visible = seen(square(100.0), [above(40.0, 0.0)])
    assert np.abs(points[visible, 0]).max() == pytest.approx(20.0, abs=0.5)
    _, too_deep = seen(square(100.0), [above(61.0, 0.0)])
    assert not too_deep.any()
    _, behind_the_face = seen(square(100.0), [above(-1.0, 0.0)])
    assert not behind_the_face.any()


def test_what_is_hidden_is_not_seen(square: Maker) -> None:
    # A small square 10 mm above a large one hides what lies below it.
    lower, upper = square(30.0), square(10.0, 10.0)
    both = Mesh(
        np.concatenate([lower.vertices_mm, upper.vertices_mm]),
        np.concatenate([lower.triangles, upper.triangles + 4]).astype(np.int32),
    )
    points, visible = seen(both, [above(40.0, y) for y in range(-16, 17, 2)])
    low = points[:, 2] < 5
    under = low & (np.abs(points[:, :2]) < 4.9).all(axis=1)
    beside = low & (np.abs(points[:, :2]) > 5.1).any(axis=1)
    assert not visible[under].any()
    assert visible[beside].all()
    assert visible[~low].all()


def test_grazing_surface_returns_no_echo(ball: Maker) -> None:
    points, visible = seen(ball(10.0), [above(40.0, 0.0)], max_incidence_deg=60.0)
    # Within the slice the normal is within 60 degrees of straight up where z > 10 cos 60 = 5.
    assert points[visible, 2].min() == pytest.approx(5.0, abs=0.1)


def test_wrong_side_of_an_open_surface(square: Maker) -> None:
    below = View(
        from_euler_xyz_deg(np.array([0.0, 0.0, -20.0]), np.array([90.0, 0.0, 0.0])), LINEAR
    )
    _, visible = seen(square(10.0), [below])
    assert not visible.any()


def test_convex_field(square: Maker) -> None:
    geometry = ProbeGeometry.sector(ProbeKind.CONVEX, 40.0, 60.0, 80.0, 300)
    points, visible = seen(square(200.0), [above(50.0, 0.0, geometry)])
    # The plane is 50 mm below the face's centre, 90 mm below the apex: 90 tan 30 = 51.96 mm.
    assert np.abs(points[visible, 0]).max() == pytest.approx(51.96, abs=0.5)


def test_an_organ_shows_all_its_walls(ball: Maker) -> None:
    points, triangle = sample_surface(ball(10.0), 4000)
    normals = triangle_normals(ball(10.0))[triangle]
    views = [above(40.0, 0.0)]
    half = visible_points(SurfaceQuery(ball(10.0)), points, normals, views)
    slice_ = visible_points(SurfaceQuery(ball(10.0)), points, normals, views, sound_passes=True)
    np.testing.assert_array_equal(slice_, np.abs(points[:, 1]) <= 2.0)
    assert (half <= slice_).all() and half.sum() < 0.6 * slice_.sum()
