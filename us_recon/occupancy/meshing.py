"""From voxels to triangles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64
from skimage.measure import marching_cubes

from us_recon.occupancy.block_grid import BLOCK, GridArrays, block_keys
from us_recon.occupancy.mesh import Mesh

_EDGE = BLOCK + 1  # a block with the first layer of its neighbours
_NEARLY_ZERO = 1e-4
_HALF_CERTAIN = 2.0  # weight of frames at which a vertex counts as half certain


def extract_surface(arrays: GridArrays, spacing_mm: float, min_weight: float) -> Mesh:
    """Return the zero surface of the values between observed voxels (Lewiner et al. 2003).

    Only blocks in which the sign changes are looked at. They are packed into one array, so that a
    single call of marching cubes serves them all.

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
    blocks, weight = padded.blocks[crosses], padded.weight[crosses]
    position, triangles, _, _ = marching_cubes(_packed(value[crosses]), 0.0)
    place, local = _unpacked(position, len(blocks))
    triangles = _of_whole_cubes(place, local, triangles.astype(np.int64), observed[crosses])
    used, triangles = np.unique(triangles, return_inverse=True)
    block, local = _number(place[used], len(blocks)), local[used]
    vertex, first = _joined(blocks[block], local)
    triangles = vertex[triangles.reshape(-1, 3)]
    a, b, c = triangles.T
    block, local = block[first], local[first]
    x, y, z = np.rint(local).astype(np.int64).T
    support = weight[block, x, y, z]
    return Mesh(
        vertices_mm=((BLOCK * blocks[block] + local) * spacing_mm).astype(np.float32),
        triangles=triangles[(a != b) & (b != c) & (c != a)].astype(np.int32),
        confidence=support / (support + np.float32(_HALF_CERTAIN)),
    )


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


def _side(count: int) -> int:
    """Return the edge of the smallest cube of blocks that holds `count`."""
    return int(np.ceil(np.cbrt(count) - 1e-9))


def _packed(value: Float32[np.ndarray, "n 9 9 9"]) -> Float32[np.ndarray, "edge edge edge"]:
    """Set the blocks side by side in a cube, where single precision still tells positions apart."""
    side = _side(len(value))
    cube = np.ones((side**3, _EDGE, _EDGE, _EDGE), np.float32)
    cube[: len(value)] = value
    cube = cube.reshape(side, side, side, _EDGE, _EDGE, _EDGE).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(cube.reshape(side * _EDGE, side * _EDGE, side * _EDGE))


def _unpacked(
    position: Float32[np.ndarray, "v 3"], count: int
) -> tuple[Int64[np.ndarray, "v 3"], Float32[np.ndarray, "v 3"]]:
    """Return which block of the cube each position is in, and where in the block."""
    place = np.minimum((position // _EDGE).astype(np.int64), _side(count) - 1)
    return place, (position - _EDGE * place).astype(np.float32)


def _number(place: Int64[np.ndarray, "v 3"], count: int) -> Int64[np.ndarray, " v"]:
    side = _side(count)
    return (place[:, 0] * side + place[:, 1]) * side + place[:, 2]


def _of_whole_cubes(
    place: Int64[np.ndarray, "v 3"],
    local: Float32[np.ndarray, "v 3"],
    triangles: Int64[np.ndarray, "t 3"],
    observed: Bool[np.ndarray, "n 9 9 9"],
) -> Int64[np.ndarray, "kept 3"]:
    """Keep the triangles of cubes that lie within one block and are observed at all corners."""
    whole = np.ones((len(observed), BLOCK, BLOCK, BLOCK), bool)
    for x, y, z in np.ndindex(2, 2, 2):
        whole &= observed[:, x : x + BLOCK, y : y + BLOCK, z : z + BLOCK]
    cube = np.floor(local[triangles].mean(axis=1)).astype(np.int64)
    block = _number(place[triangles[:, 0]], len(observed))
    together = (place[triangles] == place[triangles[:, :1]]).all(axis=(1, 2))
    within = together & (cube < BLOCK).all(axis=1) & (block < len(observed))
    keep = np.zeros(len(triangles), bool)
    keep[within] = whole[(block[within], *cube[within].T)]
    return triangles[keep]


def _joined(
    blocks: Int64[np.ndarray, "v 3"], local: Float32[np.ndarray, "v 3"]
) -> tuple[Int64[np.ndarray, " v"], Int64[np.ndarray, " joined"]]:
    """Find the vertices that neighbouring blocks share: those on the same edge of the lattice.

    Returns:
        The number of each vertex after joining, and one of the old ones for each new one.
    """
    off_lattice = np.abs(local - np.rint(local))
    axis = off_lattice.argmax(axis=1)
    along = np.arange(3) == axis[:, None]
    voxel = BLOCK * blocks + np.where(along, np.floor(local), np.rint(local)).astype(np.int64)
    home = voxel >> 3
    _, number = np.unique(block_keys(home), return_inverse=True)
    x, y, z = (voxel - (home << 3)).T
    edge = ((((number.reshape(-1) * BLOCK + x) * BLOCK + y) * BLOCK) + z) * 3 + axis
    _, first, vertex = np.unique(edge, return_index=True, return_inverse=True)
    return vertex.reshape(-1), first
