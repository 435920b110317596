"""From voxels to triangles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from skimage.measure import marching_cubes

from us_recon.occupancy.block_grid import BLOCK, GridArrays, block_keys
from us_recon.occupancy.mesh import Mesh

_EDGE = BLOCK + 1  # a block with the first layer of its neighbours
_NEARLY_ZERO = 1e-4
_HALF_CERTAIN = 2.0  # weight of frames at which a vertex counts as half certain


def extract_surface(arrays: GridArrays, spacing_mm: float, min_weight: float) -> Mesh:
    """Return the zero surface of the values between observed voxels (Lewiner et al. 2003).

    Only blocks in which the sign changes are looked at. They are stacked into one array, so that
    a single call of marching cubes serves them all.

    Args:
        arrays: Values above 0 outside (towards the probe), below 0 inside; weights.
        spacing_mm: Edge of a voxel.
        min_weight: A cube gives triangles only if all its corners have more weight than this.
    """
    padded = _padded_blocks(arrays)
    observed = padded.weight > min_weight
    # Unobserved voxels join no cube that is kept, so their sign is free to choose.
    value = np.where(observed, padded.value, 1.0).astype(np.float32)
    # A value of exactly zero would put triangles onto the face between two cubes, into neither.
    value[np.abs(value) < _NEARLY_ZERO] = _NEARLY_ZERO
    crosses = (value < 0).any(axis=(1, 2, 3)) & ((value > 0) & observed).any(axis=(1, 2, 3))
    if not crosses.any():
        return Mesh.empty()
    value, observed = value[crosses], observed[crosses]
    stacked = value.reshape(-1, _EDGE, _EDGE)
    vertices, triangles, _, _ = marching_cubes(stacked, 0.0, gradient_direction="ascent")
    triangles = _of_whole_cubes(vertices, triangles.astype(np.int64), observed)
    block = np.minimum(vertices[:, 0] // _EDGE, len(value) - 1).astype(np.int64)
    local = vertices - np.stack([block * _EDGE, 0 * block, 0 * block], axis=1)
    world = local + BLOCK * padded.blocks[crosses][block]
    weight = padded.weight[crosses]
    x, y, z = np.minimum(np.rint(local), BLOCK).astype(np.int64).T  # vertices between blocks too
    confidence = weight[block, x, y, z]
    confidence = confidence / (confidence + np.float32(_HALF_CERTAIN))
    return _joined(world, triangles, confidence, spacing_mm)


@dataclass(frozen=True, eq=False)
class _PaddedBlocks:
    blocks: Int64[np.ndarray, "n 3"]
    value: Float32[np.ndarray, "n 9 9 9"]
    weight: Float32[np.ndarray, "n 9 9 9"]


def _padded_blocks(arrays: GridArrays) -> _PaddedBlocks:
    """Give each block the first layer of the blocks after it; weight 0 where there is none."""
    shape = (len(arrays.blocks), _EDGE, _EDGE, _EDGE)
    value, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    keys = block_keys(arrays.blocks)
    for offset in np.ndindex(2, 2, 2):
        wanted = block_keys(arrays.blocks + np.array(offset))
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        held = np.flatnonzero(keys[at] == wanted) if len(keys) else np.zeros(0, np.int64)
        to = tuple(slice(BLOCK, None) if step else slice(0, BLOCK) for step in offset)
        source = tuple(slice(0, 1) if step else slice(None) for step in offset)
        value[(held, *to)] = arrays.value[at[held]][(slice(None), *source)]
        weight[(held, *to)] = arrays.weight[at[held]][(slice(None), *source)]
    return _PaddedBlocks(arrays.blocks, value, weight)


def _of_whole_cubes(
    vertices: Float32[np.ndarray, "v 3"],
    triangles: Int64[np.ndarray, "t 3"],
    observed: Bool[np.ndarray, "n 9 9 9"],
) -> Int64[np.ndarray, "kept 3"]:
    """Keep the triangles of cubes that lie within one block and are observed at all corners."""
    whole = np.ones((len(observed), BLOCK, BLOCK, BLOCK), bool)
    for x, y, z in np.ndindex(2, 2, 2):
        whole &= observed[:, x : x + BLOCK, y : y + BLOCK, z : z + BLOCK]
    centre = vertices[triangles].mean(axis=1)
    x, y, z = np.floor(centre).astype(np.int64).T
    block, x = np.divmod(x, _EDGE)
    within = (x < BLOCK) & (y < BLOCK) & (z < BLOCK)
    keep = np.zeros(len(triangles), bool)
    keep[within] = whole[block[within], x[within], y[within], z[within]]
    return triangles[keep]


def _joined(
    vertices: Float[np.ndarray, "v 3"],
    triangles: Int64[np.ndarray, "t 3"],
    confidence: Float32[np.ndarray, " v"],
    spacing_mm: float,
) -> Mesh:
    """Join the vertices that neighbouring blocks share and drop those without a triangle."""
    used, triangles = np.unique(triangles, return_inverse=True)
    position = vertices[used]
    # Both blocks interpolate along the same edge between the same values.
    rounded = np.rint(position * 1024).astype(np.int64)
    _, first, inverse = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    triangles = inverse.reshape(-1)[triangles.reshape(-1, 3)]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    return Mesh(
        vertices_mm=(position[first] * spacing_mm).astype(np.float32),
        triangles=triangles.astype(np.int32),
        confidence=confidence[used][first].astype(np.float32),
    )
