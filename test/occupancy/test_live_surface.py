"""The surface that is kept up to date against the one made at once."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid, block_keys
from us_recon.occupancy.live_surface import LiveSurface
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.surface import BeamSurface
from us_recon.occupancy.tsdf import TsdfMap
from us_recon.occupancy.voxels import LogOddsMap

VoxelMap = TsdfMap | LogOddsMap
KINDS = pytest.mark.parametrize("kind", [TsdfMap, LogOddsMap])


def assert_same(live: Mesh, at_once: Mesh) -> None:
    np.testing.assert_array_equal(live.vertices_mm, at_once.vertices_mm)
    np.testing.assert_array_equal(live.triangles, at_once.triangles)
    assert live.confidence is not None
    assert at_once.confidence is not None
    np.testing.assert_array_equal(live.confidence, at_once.confidence)


@pytest.mark.parametrize("seed", range(4))
def test_random_writes_give_the_mesh_made_at_once(seed: int) -> None:
    # Noise in a few blocks at a time, so that nearly every border between blocks is crossed, and
    # now and then a hole.
    random = np.random.default_rng(seed)
    grid, live = BlockGrid(0.7, 1000), LiveSurface(0.7, 0.5)
    sizes = []
    for _ in range(12):
        corner = random.integers(-20, 20, 3)
        voxels = corner + np.argwhere(np.ones(random.integers(1, 14, 3)))
        at = grid.locate(voxels)
        grid.value[at] = random.normal(size=len(at))
        grid.weight[at] = random.choice([0.0, 1.0], size=len(at), p=[0.1, 0.9])
        mesh = live.update(grid.take_touched(), grid.arrays)
        assert_same(mesh, extract_surface(grid.arrays(), 0.7, min_weight=0.5))
        sizes.append(len(mesh.triangles))
    assert sizes[-1] > 1000
    assert len(set(sizes)) > 6


def test_only_blocks_at_what_changed_are_redone() -> None:
    grid, live = BlockGrid(1.0, 1000), LiveSurface(1.0, 0.0)
    axis = np.arange(40)
    voxels = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    at = grid.locate(voxels)
    grid.value[at] = voxels[:, 2] - 20.5
    grid.weight[at] = 1.0
    live.update(grid.take_touched(), grid.arrays)
    assert live.redone == 125
    live.update(grid.take_touched(), grid.arrays)
    assert live.redone == 0
    one = grid.locate(np.array([[20, 20, 20]]))
    grid.value[one] = 2.0
    mesh = live.update(grid.take_touched(), grid.arrays)
    assert live.redone == 8  # its block and the seven before it
    assert_same(mesh, extract_surface(grid.arrays(), 1.0, min_weight=0.0))
    assert mesh.area_mm2 > 39.0**2 + 1.0


def test_blocks_that_go_take_their_surface_with_them() -> None:
    grid, live = BlockGrid(1.0, 1000), LiveSurface(1.0, 0.0)
    voxels = np.stack(np.meshgrid(*3 * [np.arange(16)], indexing="ij"), axis=-1).reshape(-1, 3)
    at = grid.locate(voxels)
    grid.value[at], grid.weight[at] = voxels[:, 0] - 7.5, 1.0
    held = grid.arrays()
    whole = live.update(grid.take_touched(), grid.arrays)
    assert whole.area_mm2 == pytest.approx(15.0**2)
    left = block_keys(held.blocks[:2])
    grid.restore(grid.arrays(left))
    assert_same(
        live.update(grid.take_touched(), grid.arrays),
        extract_surface(grid.arrays(), 1.0, min_weight=0.0),
    )
    grid.clear()
    assert live.update(grid.take_touched(), grid.arrays).is_empty
    grid.restore(held)
    assert_same(live.update(grid.take_touched(), grid.arrays), whole)


@KINDS
@pytest.mark.parametrize("seed", range(3))
def test_random_frames_give_the_mesh_made_at_once(
    kind: type[VoxelMap],
    seed: int,
    flat_surface: Callable[..., BeamSurface],
    frame_at: Callable[..., TrackedFrame],
) -> None:
    random = np.random.default_rng(seed)
    made = kind(BlockGrid(1.0, 10_000))
    for count in (1, 3, 1, 6, 2, 1):
        for _ in range(count):
            T = from_euler_xyz_deg(random.uniform(-15, 15, 3), random.uniform(-40, 40, 3))
            depth_mm = random.uniform(10, 30) + np.cumsum(random.normal(0, 0.3, 80))
            made.integrate(frame_at(T), flat_surface(depth_mm), 3.0)
        assert_same(made.extract_mesh(complete=False), made.extract_mesh())
    assert len(made.extract_mesh().triangles) > 2000


@KINDS
def test_a_map_that_grows_keeps_what_it_had(
    kind: type[VoxelMap],
    flat_surface: Callable[..., BeamSurface],
    frame_at: Callable[..., TrackedFrame],
) -> None:
    # Every frame looks elsewhere: storage grows past its first 256 blocks.
    made = kind(BlockGrid(0.5, 10_000))
    for k in range(12):
        T = from_euler_xyz_deg(np.array([0.0, 0.0, 9.0 * k]), np.zeros(3))
        made.integrate(frame_at(T), flat_surface(20.0), 3.0)
        assert_same(made.extract_mesh(complete=False), made.extract_mesh())
    assert made.grid.block_count > 600
