"""Marching cubes over blocks."""

from collections import Counter

import numpy as np
import pytest

from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface


def ball(radius: float, reach: int = 20, spacing_mm: float = 0.5) -> BlockGrid:
    """Return the exact distance to a ball about the origin, with weight 1 everywhere."""
    grid = BlockGrid(spacing_mm, 10_000)
    axis = np.arange(-reach, reach + 1)
    voxels = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    at = grid.locate(voxels)
    grid.value[at] = np.linalg.norm(voxels, axis=1) - radius
    grid.weight[at] = 1.0
    return grid


def edges(mesh: Mesh) -> Counter[tuple[int, int]]:
    """Count the triangles at each edge."""
    pairs = np.concatenate([mesh.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    return Counter(map(tuple, np.sort(pairs, axis=1).tolist()))


def test_ball_is_closed_across_blocks_and_faces_outwards() -> None:
    # Radius 12 voxels of 0.5 mm: 6 mm, over 8 x 8 x 8 voxels of each block.
    mesh = extract_surface(ball(12.0).arrays(), 0.5, min_weight=0.0)
    assert set(edges(mesh).values()) == {2}
    # Vertices minus edges plus triangles is 2 for a sphere.
    assert len(mesh.vertices_mm) - len(edges(mesh)) + len(mesh.triangles) == 2
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices_mm, axis=1), 6.0, atol=0.02)
    assert mesh.area_mm2 == pytest.approx(4 * np.pi * 36, rel=0.01)
    a, b, c = np.moveaxis(mesh.corners_mm(), 1, 0)
    volume_mm3 = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * 216, rel=0.01)  # negative if inside out


def test_unobserved_voxels_give_no_surface() -> None:
    grid = ball(12.0)
    axis = np.arange(-20, 21)
    upper = np.stack(np.meshgrid(axis, axis, np.arange(0, 21)), axis=-1).reshape(-1, 3)
    grid.weight[grid.locate(upper)] = 0.0
    mesh = extract_surface(grid.arrays(), 0.5, min_weight=0.0)
    # Voxels down from z = -1 are left: the surface ends there.
    assert mesh.vertices_mm[:, 2].max() <= -0.5 + 1e-6
    assert mesh.area_mm2 == pytest.approx(2 * np.pi * 6 * (6 - 0.5), rel=0.03)


def test_min_weight_counts_as_unobserved() -> None:
    arrays = ball(12.0).arrays()
    assert extract_surface(arrays, 0.5, min_weight=1.0).is_empty
    assert not extract_surface(arrays, 0.5, min_weight=0.99).is_empty


def test_confidence_is_half_at_weight_two() -> None:
    grid = ball(5.0, reach=8)
    grid.weight[grid.weight > 0] = 2.0
    mesh = extract_surface(grid.arrays(), 1.0, min_weight=0.0)
    assert mesh.confidence is not None
    np.testing.assert_allclose(mesh.confidence, 0.5)


def test_nothing_to_mesh() -> None:
    assert extract_surface(BlockGrid(1.0, 10).arrays(), 1.0, 0.0).is_empty
    solid = ball(500.0, reach=8)  # inside throughout
    assert extract_surface(solid.arrays(), 1.0, 0.0).is_empty


def test_vertices_are_joined() -> None:
    mesh = extract_surface(ball(12.0).arrays(), 0.5, min_weight=0.0)
    assert len(np.unique(mesh.vertices_mm, axis=0)) == len(mesh.vertices_mm)
    assert set(mesh.triangles.reshape(-1).tolist()) == set(range(len(mesh.vertices_mm)))
