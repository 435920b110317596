"""Compiled loops of marching cubes over blocks."""

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64, UInt8

from us_recon.compiled import compiled
from us_recon.occupancy.block_grid import BLOCK

_EDGE = BLOCK + 1  # a block with the first layer of its neighbours
_NEARLY_ZERO = 1e-4
_OUTSIDE, _INSIDE, _UNOBSERVED = 0, 1, 2


@compiled
def _block_of(x: int, y: int, z: int) -> int:
    """Return in which of a block and the seven after it a voxel lies."""
    return ((x >> 3) << 2) | ((y >> 3) << 1) | (z >> 3)


@compiled
def _not_zero(value: float) -> float:
    """Return the value, moved off zero: there, triangles would shrink to points."""
    return _NEARLY_ZERO if abs(value) < _NEARLY_ZERO else value


@compiled
def find_cases(
    value: Float32[np.ndarray, "n 8 8 8"],
    weight: Float32[np.ndarray, "n 8 8 8"],
    min_weight: float,
    around: Int64[np.ndarray, "m 8"],
    cases: UInt8[np.ndarray, "m 8 8 8"],
) -> None:
    """Write which corners of each cube are inside; leave 0 where not all corners are observed.

    `around` tells where a block and the seven after it are, -1 where there is none.
    """
    state = np.empty((_EDGE, _EDGE, _EDGE), np.uint8)
    for n in range(len(around)):
        seen = 0
        for x in range(_EDGE):
            for y in range(_EDGE):
                for z in range(_EDGE):
                    block, i, j, k = around[n, _block_of(x, y, z)], x & 7, y & 7, z & 7
                    now = _UNOBSERVED
                    if block >= 0 and weight[block, i, j, k] > min_weight:
                        now = _INSIDE if _not_zero(value[block, i, j, k]) < 0 else _OUTSIDE
                    state[x, y, z] = now
                    seen |= 1 << now
        if not (seen & (1 << _INSIDE) and seen & (1 << _OUTSIDE)):
            continue
        for x in range(BLOCK):
            for y in range(BLOCK):
                for z in range(BLOCK):
                    cases[n, x, y, z] = _case(state, x, y, z)


@compiled
def _case(state: UInt8[np.ndarray, "9 9 9"], x: int, y: int, z: int) -> int:
    case = 0
    for corner in range(8):
        now = state[x + (corner >> 2), y + ((corner >> 1) & 1), z + (corner & 1)]
        if now == _UNOBSERVED:
            return 0
        case |= now << corner
    return case


@compiled
def fill_triangles(
    cases: UInt8[np.ndarray, "m 8 8 8"],
    table: Int8[np.ndarray, "256 most 3"],
    edges: Int64[np.ndarray, "12 4"],
    vertices: Int32[np.ndarray, "v 4"],
    vertex_count: Int64[np.ndarray, " m"],
    triangles: Int32[np.ndarray, "t 3"],
) -> None:
    """Write the triangles of all blocks, and the edges of the lattice that their vertices lie on.

    Args:
        cases: From `find_cases`.
        table: Edges of each case's triangles, -1 where there is none.
        edges: Lower corner (x, y, z) and axis of each edge of a cube.
        vertices: To be filled with voxel (0 to 8, in the block) and axis of each vertex.
        vertex_count: To be filled with the number of vertices of each block.
        triangles: To be filled with numbers of vertices, from 0 in each block.
    """
    number = np.empty((_EDGE, _EDGE, _EDGE, 3), np.int32)
    v = t = 0
    for n in range(len(cases)):
        number[:] = -1
        first = v
        for x in range(BLOCK):
            for y in range(BLOCK):
                for z in range(BLOCK):
                    made = table[cases[n, x, y, z]]
                    for row in range(len(made)):
                        if made[row, 0] < 0:
                            break
                        for side in range(3):
                            low = edges[made[row, side]]
                            i, j, k, axis = x + low[0], y + low[1], z + low[2], low[3]
                            if number[i, j, k, axis] < 0:
                                number[i, j, k, axis] = v - first
                                vertices[v, 0], vertices[v, 1], vertices[v, 2] = i, j, k
                                vertices[v, 3] = axis
                                v += 1
                            triangles[t, side] = number[i, j, k, axis]
                        t += 1
        vertex_count[n] = v - first


@compiled
def place_vertices(
    value: Float32[np.ndarray, "n 8 8 8"],
    weight: Float32[np.ndarray, "n 8 8 8"],
    around: Int64[np.ndarray, "m 8"],
    vertices: Int32[np.ndarray, "v 4"],
    vertex_count: Int64[np.ndarray, " m"],
    position: Float32[np.ndarray, " v"],
    support: Float32[np.ndarray, " v"],
) -> None:
    """Write how far along its edge each vertex lies, 0 to 1, and the weight of the nearer end."""
    v = 0
    for n in range(len(around)):
        for _ in range(vertex_count[n]):
            x, y, z, axis = vertices[v, 0], vertices[v, 1], vertices[v, 2], vertices[v, 3]
            low = around[n, _block_of(x, y, z)]
            a, a_weight = value[low, x & 7, y & 7, z & 7], weight[low, x & 7, y & 7, z & 7]
            x, y, z = x + (axis == 0), y + (axis == 1), z + (axis == 2)
            high = around[n, _block_of(x, y, z)]
            b, b_weight = value[high, x & 7, y & 7, z & 7], weight[high, x & 7, y & 7, z & 7]
            a, b = _not_zero(a), _not_zero(b)
            position[v] = a / (a - b)
            support[v] = a_weight if position[v] <= np.float32(0.5) else b_weight
            v += 1
