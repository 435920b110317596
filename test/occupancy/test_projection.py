"""Voxels seen from one frame."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.projection import observe
from us_recon.occupancy.surface import BeamSurface, SurfaceSource

Surfaces = Callable[..., BeamSurface]


def test_distances_and_limits(flat_surface: Surfaces) -> None:
    seen = observe(np.eye(4), flat_surface(20.0), 1.0, half_thickness_mm=2.5, behind_mm=3.0)
    # The transducer frame is the world: depth is y, elevation z.
    np.testing.assert_allclose(seen.front_mm, 20.0 - seen.voxels[:, 1], atol=1e-5)
    assert seen.voxels[:, 1].min() == 0
    assert seen.voxels[:, 1].max() == 23  # 3 mm behind, then shadow
    assert np.abs(seen.voxels[:, 0]).max() == 20
    # Weight falls linearly to 0 at 2.5 mm: at 1 mm it is 1 - 1/2.5.
    at = {z: seen.weight[seen.voxels[:, 2] == z] for z in (-2, -1, 0, 1, 2)}
    for z, expected in ((0, 1.0), (1, 0.6), (-1, 0.6), (2, 0.2), (-2, 0.2)):
        np.testing.assert_allclose(at[z], expected, atol=1e-5)


def test_weight_is_what_the_surface_is_worth(flat_surface: Surfaces) -> None:
    label = replace(flat_surface(20.0), trust=0.5)
    found = replace(label, source=SurfaceSource.DETECTOR)
    seen = [
        observe(np.eye(4), each, 1.0, half_thickness_mm=1.0, behind_mm=1.0)
        for each in (label, found)
    ]
    np.testing.assert_allclose(seen[0].weight, 2.0 * seen[1].weight, rtol=1e-6)


def test_reach_in_front(flat_surface: Surfaces) -> None:
    seen = observe(
        np.eye(4), flat_surface(20.0), 1.0, half_thickness_mm=1.0, behind_mm=2.0, in_front_mm=4.0
    )
    assert sorted(set(seen.voxels[:, 1].tolist())) == list(range(16, 23))


def test_depth_is_interpolated_between_beams(flat_surface: Surfaces, linear: ProbeGeometry) -> None:
    # A slope of 0.5: depth 20 + 0.5 x; beams are 0.5 mm apart and voxels lie between them too.
    depth_mm = 20.0 + 0.5 * linear.beam_origins_mm[:, 0]
    seen = observe(np.eye(4), flat_surface(depth_mm), 0.2, half_thickness_mm=0.1, behind_mm=1.0)
    x, y = 0.2 * seen.voxels[:, 0], 0.2 * seen.voxels[:, 1]
    inside = np.abs(x) < 19.7  # beyond the outermost beam its depth holds
    np.testing.assert_allclose(seen.front_mm[inside], (20.0 + 0.5 * x - y)[inside], atol=1e-4)


def test_no_bridge_over_a_jump(flat_surface: Surfaces, linear: ProbeGeometry) -> None:
    # 10 mm deep on the left, 20 mm on the right: nothing is 15 mm deep.
    depth_mm = np.where(linear.beam_origins_mm[:, 0] < 0, 10.0, 20.0)
    seen = observe(np.eye(4), flat_surface(depth_mm), 0.1, half_thickness_mm=0.05, behind_mm=0.5)
    surface_mm = seen.front_mm + 0.1 * seen.voxels[:, 1]
    assert (np.isclose(surface_mm, 10.0, atol=1e-3) | np.isclose(surface_mm, 20.0, atol=1e-3)).all()


def test_beams_that_see_nothing_say_nothing(flat_surface: Surfaces, linear: ProbeGeometry) -> None:
    left = linear.beam_origins_mm[:, 0] < 0
    surface = flat_surface(np.where(left, 20.0, np.nan))
    seen = observe(np.eye(4), surface, 1.0, half_thickness_mm=1.5, behind_mm=3.0)
    # The last beam that sees is at -0.25 mm and speaks for what lies nearer to it than to the next.
    assert seen.voxels[:, 0].max() == -1
    without_contact = replace(flat_surface(20.0), contact=left)
    seen = observe(np.eye(4), without_contact, 1.0, half_thickness_mm=1.5, behind_mm=3.0)
    assert seen.voxels[:, 0].max() == -1
    nothing = flat_surface(np.nan)
    assert len(observe(np.eye(4), nothing, 1.0, half_thickness_mm=1.5, behind_mm=3.0).voxels) == 0


def test_confidence_is_weight(flat_surface: Surfaces) -> None:
    doubtful = replace(flat_surface(20.0), confidence=np.full(80, 0.25, np.float32))
    seen = observe(np.eye(4), doubtful, 1.0, half_thickness_mm=0.5, behind_mm=3.0)
    np.testing.assert_allclose(seen.weight, 0.25)


def test_pose_of_the_probe(flat_surface: Surfaces) -> None:
    # Depth along -z of the world, 100 mm up: the surface 20 mm below is at z = 80.
    T = from_euler_xyz_deg(np.array([3.0, -4.0, 100.0]), np.array([-90.0, 0.0, 0.0]))
    seen = observe(T, flat_surface(20.0), 1.0, half_thickness_mm=1.5, behind_mm=3.0)
    np.testing.assert_allclose(seen.front_mm, seen.voxels[:, 2] - 80.0, atol=1e-4)


def test_convex_beams(flat_surface: Surfaces) -> None:
    geometry = ProbeGeometry.sector(ProbeKind.CONVEX, 40.0, 60.0, 80.0, 300, beam_count=61)
    seen = observe(
        np.eye(4), flat_surface(30.0, geometry), 1.0, half_thickness_mm=0.5, behind_mm=2.0
    )
    # The surface is the arc 70 mm from the apex, which is 40 mm behind the face.
    from_apex = np.hypot(seen.voxels[:, 0], seen.voxels[:, 1] + 40.0)
    np.testing.assert_allclose(seen.front_mm, 70.0 - from_apex, atol=1e-4)
    angle_deg = np.degrees(np.arctan2(seen.voxels[:, 0], seen.voxels[:, 1] + 40.0))
    assert np.abs(angle_deg).max() == pytest.approx(30.0, abs=1.0)
