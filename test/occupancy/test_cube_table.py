"""The table of marching cubes, and the surface it gives."""

from collections import Counter

import numpy as np
from scipy.spatial import KDTree
from skimage.measure import marching_cubes

from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.cube_table import CORNERS, EDGES, cube_table
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface

TABLE = cube_table()
SIDE = 24


def noise(seed: int) -> BlockGrid:
    """Return independent values of random sign, which show every case; all of the rim outside."""
    axis = np.arange(SIDE)
    voxels = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    value = np.random.default_rng(seed).normal(size=len(voxels)).astype(np.float32)
    rim = ((voxels == 0) | (voxels == SIDE - 1)).any(axis=1)
    grid = BlockGrid(1.0, 1000)
    at = grid.locate(voxels)
    grid.value[at] = np.where(rim, np.abs(value), value)
    grid.weight[at] = 1.0
    return grid


def sides(mesh: Mesh) -> list[tuple[int, int]]:
    """Return the sides of all triangles, from which vertex to which."""
    pairs = [mesh.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]
    return list(map(tuple, np.concatenate(pairs).tolist()))


def test_one_corner_by_hand() -> None:
    # Corner (0, 0, 0) alone is inside: one triangle over the three edges that leave it, whose
    # normal points away from the corner, to (1, 1, 1).
    made = TABLE[1]
    assert (made[1:] == -1).all()
    middles = np.array([0.5 * np.eye(3)[EDGES[edge][1]] for edge in made[0]])
    assert {EDGES[edge][0] for edge in made[0]} == {0}
    a, b, c = middles
    np.testing.assert_allclose(np.cross(b - a, c - a), np.full(3, 0.25))


def test_every_case_cuts_the_edges_between_inside_and_outside() -> None:
    for case, triangles in enumerate(TABLE):
        cut = {
            number
            for number, (low, axis) in enumerate(EDGES)
            if (case >> low & 1) != (case >> (low | 4 >> axis) & 1)
        }
        assert set(triangles[triangles >= 0].tolist()) == cut
    assert CORNERS[4] == (1, 0, 0)  # 4 >> 0, the step along x


def test_noise_gives_a_closed_surface() -> None:
    # Each side has one triangle on its left and one on its right, wherever signs change.
    mesh = extract_surface(noise(0).arrays(), 1.0, min_weight=0.0)
    count = Counter(sides(mesh))
    assert len(count) > 50_000
    assert set(count.values()) == {1}
    assert all((b, a) in count for a, b in count)


def test_vertices_lie_where_the_value_is_zero() -> None:
    grid = noise(1)
    arrays = grid.arrays()
    dense = np.zeros((SIDE, SIDE, SIDE))
    for block, value in zip(8 * arrays.blocks, arrays.value, strict=True):
        dense[tuple(slice(b, b + 8) for b in block)] = value
    vertices = extract_surface(arrays, 1.0, min_weight=0.0).vertices_mm.astype(np.float64)
    low = np.floor(vertices).astype(int)
    high = np.ceil(vertices).astype(int)
    part = (vertices - low).sum(axis=1)
    a, b = dense[tuple(low.T)], dense[tuple(high.T)]
    # Values nearer to zero were moved to 1e-4.
    np.testing.assert_allclose(a + part * (b - a), 0.0, atol=2e-4)


def test_a_smooth_surface_is_the_one_of_another_program() -> None:
    # scikit-image's variant (Lewiner et al. 2003) differs where signs alone leave a choice, of
    # which a smooth surface has none: same vertices, and as many triangles.
    axis = np.arange(SIDE) - 11.3
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    value = (radius - 8.0 + np.sin(x) * np.cos(y + 0.5 * z)).astype(np.float32)
    theirs, triangles, _, _ = marching_cubes(value, 0.0)
    voxels = np.argwhere(np.ones_like(value))
    grid = BlockGrid(1.0, 1000)
    at = grid.locate(voxels)
    grid.value[at], grid.weight[at] = value.reshape(-1), 1.0
    mesh = extract_surface(grid.arrays(), 1.0, min_weight=0.0)
    assert len(mesh.vertices_mm) == len(theirs)
    assert len(mesh.triangles) == len(triangles)
    distance_mm, _ = KDTree(theirs).query(mesh.vertices_mm)
    assert distance_mm.max() < 1e-4
