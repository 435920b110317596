"""From voxels to triangles."""

from functools import cache

import numpy as np
from jaxtyping import Bool, Int8, Int64

from us_recon.occupancy.block_grid import BLOCK, GridArrays, block_keys
from us_recon.occupancy.cube_loops import fill_triangles, find_cases, place_vertices
from us_recon.occupancy.cube_table import EDGES, cube_table
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.pieces import Pieces


def extract_surface(arrays: GridArrays, spacing_mm: float, min_weight: float) -> Mesh:
    """Return the zero surface of the values between observed voxels (Lorensen and Cline 1987).

    Args:
        arrays: Values above 0 outside (towards the probe), below 0 inside; weights.
        spacing_mm: Edge of a voxel.
        min_weight: A cube gives triangles only if all its corners have more weight than this.
    """
    return extract_pieces(arrays, spacing_mm, min_weight).joined()


def extract_pieces(
    arrays: GridArrays,
    spacing_mm: float,
    min_weight: float,
    wanted: Bool[np.ndarray, " n"] | None = None,
) -> Pieces:
    """Return each block's part of the surface; blocks without any are left out.

    A part follows, to the last bit, from its block and the first layer of the seven after it: it is
    the same whatever else is meshed with it.

    Args:
        arrays: As for `extract_surface`.
        spacing_mm: Edge of a voxel.
        min_weight: As for `extract_surface`.
        wanted: Blocks whose part is wanted; the others are there for their first layers. All of
            them unless told.
    """
    keys, value, weight = block_keys(arrays.blocks), arrays.value, arrays.weight
    chosen = np.arange(len(keys)) if wanted is None else np.flatnonzero(wanted)
    around = _blocks_after(arrays.blocks, keys, chosen)
    cases = np.zeros((len(chosen), BLOCK, BLOCK, BLOCK), np.uint8)
    find_cases(value, weight, min_weight, around, cases)
    triangle_count = _triangles_of_case()[cases].sum(axis=(1, 2, 3), dtype=np.int64)
    crossed = triangle_count > 0
    chosen, around, triangle_count = chosen[crossed], around[crossed], triangle_count[crossed]
    triangles = np.empty((triangle_count.sum(), 3), np.int32)
    vertices = np.empty((triangles.size, 4), np.int32)  # many too many: most are shared
    vertex_count = np.empty(len(chosen), np.int64)
    fill_triangles(cases[crossed], _table(), _edges(), vertices, vertex_count, triangles)
    vertices = vertices[: vertex_count.sum()]
    along, support = np.empty((2, len(vertices)), np.float32)
    place_vertices(value, weight, around, vertices, vertex_count, along, support)
    voxel, axis = vertices[:, :3].astype(np.int64), vertices[:, 3]
    corner = BLOCK * np.repeat(arrays.blocks[chosen], vertex_count, axis=0) + voxel
    position = corner + np.where(np.arange(3) == axis[:, None], along[:, None], 0.0)
    x, y, z = (voxel & (BLOCK - 1)).T
    return Pieces(
        keys=keys[chosen],
        vertex_count=vertex_count,
        triangle_count=triangle_count,
        home=block_keys(corner >> 3),
        edge=(((x * BLOCK + y) * BLOCK) + z) * 3 + axis,
        vertices_mm=(position * spacing_mm).astype(np.float32),
        weight=support,
        triangles=triangles,
    )


def _blocks_after(
    blocks: Int64[np.ndarray, "n 3"], keys: Int64[np.ndarray, " n"], chosen: Int64[np.ndarray, " m"]
) -> Int64[np.ndarray, "m 8"]:
    """Return where the chosen blocks and the seven after each are; -1 where there is none."""
    around = np.full((len(chosen), 8), -1, np.int64)
    if len(chosen) == 0:
        return around
    for corner, offset in enumerate(np.ndindex(2, 2, 2)):
        wanted = block_keys(blocks[chosen] + np.array(offset))
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        around[:, corner] = np.where(keys[at] == wanted, at, -1)
    return around


@cache
def _table() -> Int8[np.ndarray, "256 triangles 3"]:
    return cube_table()


@cache
def _triangles_of_case() -> Int64[np.ndarray, "256"]:
    return (_table()[:, :, 0] >= 0).sum(axis=1)


@cache
def _edges() -> Int64[np.ndarray, "12 4"]:
    """Return the lower corner (x, y, z) and the axis of each edge of a cube."""
    return np.array([(low >> 2, low >> 1 & 1, low & 1, axis) for low, axis in EDGES], np.int64)
