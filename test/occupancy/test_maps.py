"""TSDF and log-odds maps on surfaces that are known exactly."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg, make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.maps import SurfaceMap
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.projection import observe
from us_recon.occupancy.surface import BeamSurface
from us_recon.occupancy.tsdf import TsdfMap, TsdfSettings
from us_recon.occupancy.voxels import LogOddsMap

Surfaces = Callable[..., BeamSurface]
Frames = Callable[..., TrackedFrame]

# Tilted against all axes of the grid: the surface is nowhere on a lattice plane.
TILTED = from_euler_xyz_deg(np.array([5.0, -7.0, 11.0]), np.array([20.0, -35.0, 50.0]))


@pytest.fixture(params=["tsdf", "log_odds"])
def new_map(request: pytest.FixtureRequest) -> Callable[..., SurfaceMap]:
    """Return a maker of empty maps of either kind."""
    kind = TsdfMap if request.param == "tsdf" else LogOddsMap
    return lambda spacing_mm=1.0: kind(BlockGrid(spacing_mm, 50_000))


def sweep(step_mm: float, count: int, start: np.ndarray = TILTED) -> list[np.ndarray]:
    """Poses that move along the elevation axis."""
    steps = [make_rigid(np.eye(3), np.array([0, 0, k * step_mm])) for k in range(count)]
    return [start @ step for step in steps]


def depth_of(mesh: Mesh, start: np.ndarray = TILTED) -> np.ndarray:
    """Depth of the vertices below the array face."""
    return (mesh.vertices_mm - start[:3, 3]) @ start[:3, 1]


def tolerance_mm(of: SurfaceMap) -> float:
    """Log-odds are not linear in distance beyond the ramp, where voxels still interpolate."""
    return 0.1 if isinstance(of, TsdfMap) else 0.15


def fill(
    into: SurfaceMap, poses: Sequence[np.ndarray], frame_at: Frames, surface: BeamSurface
) -> None:
    for T in poses:
        into.integrate(frame_at(T), surface, 3.0)


@pytest.mark.parametrize("spacing_mm", [1.0, 0.5])
def test_plane_comes_back_at_its_depth(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces, spacing_mm: float
) -> None:
    plane = new_map(spacing_mm)
    fill(plane, sweep(1.0, 20), frame_at, flat_surface(20.3))
    mesh = plane.extract_mesh()
    depth_mm = depth_of(mesh)
    assert np.abs(depth_mm - 20.3).max() < tolerance_mm(plane)
    # 40 mm of beams over 19 mm of sweep and up to 3 mm on either side, less the open rim.
    assert 40 * 19 < mesh.area_mm2 < 40 * 25


def test_slope_comes_back(
    new_map: Callable[..., SurfaceMap],
    frame_at: Frames,
    flat_surface: Surfaces,
    linear: ProbeGeometry,
) -> None:
    plane = new_map()
    slope = 20.0 + 0.6 * linear.beam_origins_mm[:, 0]
    fill(plane, sweep(1.0, 20), frame_at, flat_surface(slope))
    local = (plane.extract_mesh().vertices_mm - TILTED[:3, 3]) @ TILTED[:3, :3]
    inner = local[np.abs(local[:, 0]) < 18]
    assert np.abs(inner[:, 1] - 20.0 - 0.6 * inner[:, 0]).max() < 0.1


def test_frames_four_millimetres_apart_leave_no_comb(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    plane = new_map()
    fill(plane, sweep(4.0, 6), frame_at, flat_surface(20.0))
    mesh = plane.extract_mesh()
    # 40 mm by 5 gaps of 4 mm: a comb would have half of it.
    assert mesh.area_mm2 > 0.97 * 40 * 20
    assert np.abs(depth_of(mesh) - 20.0).max() < tolerance_mm(plane)


def test_surface_between_two_frames_is_their_interpolation(
    frame_at: Frames, flat_surface: Surfaces
) -> None:
    # Depth 20 mm in one frame and 21 mm in the next, 3 mm further on, which is the reach of each:
    # half way the weights are equal and the surface lies at 20.5 mm.
    step = TsdfMap(BlockGrid(0.5, 50_000), TsdfSettings(min_weight=0.05))
    first, second = sweep(3.0, 2)
    step.integrate(frame_at(first), flat_surface(20.0), 3.0)
    step.integrate(frame_at(second), flat_surface(21.0), 3.0)
    local = (step.extract_mesh().vertices_mm - TILTED[:3, 3]) @ TILTED[:3, :3]
    for elevation_mm, expected_mm in ((0.75, 20.25), (1.5, 20.5), (2.25, 20.75)):
        there = (np.abs(local[:, 2] - elevation_mm) < 0.2) & (np.abs(local[:, 0]) < 18)
        assert np.median(local[there, 1]) == pytest.approx(expected_mm, abs=0.07)


def test_sphere(
    new_map: Callable[..., SurfaceMap],
    frame_at: Frames,
    flat_surface: Surfaces,
    linear: ProbeGeometry,
) -> None:
    # Radius 15 mm, 30 mm below the sweep, half way along it; beams see its upper half.
    ball = new_map()
    x = linear.beam_origins_mm[:, 0]
    for T, z in zip(sweep(1.0, 31), np.arange(31) - 15.0, strict=True):
        inside = 15.0**2 - x**2 - z**2
        depth_mm = np.where(inside > 0, 30.0 - np.sqrt(np.maximum(inside, 0)), np.nan)
        ball.integrate(frame_at(T), flat_surface(depth_mm), 3.0)
    mesh = ball.extract_mesh()
    centre = TILTED[:3] @ np.array([0.0, 30.0, 15.0, 1.0])
    # Beams that graze the rim smear it: below 60 degrees of incidence it is exact.
    from_centre = mesh.vertices_mm - centre
    top = from_centre @ -TILTED[:3, 1] > 7.5
    radius_mm = np.linalg.norm(from_centre[top], axis=1)
    assert np.abs(radius_mm - 15.0).mean() < 0.15
    assert np.percentile(np.abs(radius_mm - 15.0), 95) < 0.4
    a, b, c = np.moveaxis(mesh.corners_mm()[top[mesh.triangles].all(axis=1)], 1, 0)
    outwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - centre)
    assert (outwards > 0).all()


def noisy_depths_mm(count: int, beams: int) -> np.ndarray:
    """Depths about 20 mm with a standard deviation of 0.8 mm, the same each time."""
    return 20.0 + np.random.default_rng(5).normal(0.0, 0.8, (count, beams))


def test_noise_does_not_shift_the_surface(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    plane = new_map()
    for T, depths_mm in zip(sweep(0.5, 40), noisy_depths_mm(40, 80), strict=True):
        plane.integrate(frame_at(T), flat_surface(depths_mm), 3.0)
    assert np.mean(depth_of(plane.extract_mesh())) == pytest.approx(20.0, abs=0.05)


def test_asymmetric_weights_do_shift_it(flat_surface: Surfaces) -> None:
    # The test above can fail: with 0.85 for occupied and 0.4 for free, as laser maps have it, the
    # same depths give a surface nearer to the probe.
    grid = BlockGrid(1.0, 50_000)
    for T, depths_mm in zip(sweep(0.5, 40), noisy_depths_mm(40, 80), strict=True):
        seen = observe(T, flat_surface(depths_mm), 1.0, half_thickness_mm=3.0, behind_mm=3.0)
        at = grid.locate(seen.voxels)
        occupied = np.where(seen.front_mm <= 0, np.float32(0.85), np.float32(-0.4))
        grid.value[at] = np.clip(grid.value[at] + seen.weight * occupied, -6, 6)
        grid.weight[at] += seen.weight
    arrays = grid.arrays()
    mesh = extract_surface(replace(arrays, value=-arrays.value), 1.0, min_weight=0.1)
    assert np.mean(depth_of(mesh)) < 19.8


def test_what_lies_in_shadow_stays_unknown(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    plane = new_map()
    fill(plane, sweep(1.0, 10, np.eye(4)), frame_at, flat_surface(20.0))
    weight = plane.grid.weight
    assert (weight[plane.grid.locate(np.array([[0, 20, 5], [0, 10, 5]]))] > 0).all()
    assert (weight[plane.grid.locate(np.array([[0, 24, 5], [0, 39, 5]]))] == 0).all()


def test_shadow_does_not_carve_another_surface(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    # A plane 30 mm deep, then five passes over something 15 mm deep that hides it.
    both = new_map()
    fill(both, sweep(1.0, 10), frame_at, flat_surface(30.0))
    before = both.extract_mesh()
    fill(both, sweep(1.0, 10) * 5, frame_at, flat_surface(15.0))
    after = depth_of(both.extract_mesh())
    assert np.sum(np.abs(after - 30.0) < tolerance_mm(both)) == len(before.vertices_mm)


def test_a_wrong_surface_in_free_space_goes_away(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    # One frame takes fascia at 12 mm for bone; thirty see through it to 25 mm.
    plane = new_map()
    plane.integrate(frame_at(TILTED), flat_surface(12.0), 3.0)
    fill(plane, [TILTED] * 30, frame_at, flat_surface(25.0))
    depth_mm = depth_of(plane.extract_mesh())
    assert len(depth_mm) > 0
    assert (depth_mm > 20).all()


def test_empty_map(
    new_map: Callable[..., SurfaceMap], frame_at: Frames, flat_surface: Surfaces
) -> None:
    nothing = new_map()
    assert nothing.extract_mesh().is_empty
    assert nothing.integrate(frame_at(TILTED), flat_surface(np.nan), 3.0) == 0
    assert nothing.extract_mesh().is_empty
    assert nothing.grid.block_count == 0
