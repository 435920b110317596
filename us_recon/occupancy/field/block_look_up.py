"""Trilinear look-up at the voxels of whole blocks, axis by axis."""

import numpy as np
from jaxtyping import Float32, Int32, Int64

from us_recon.occupancy.block_grid import BLOCK
from us_recon.occupancy.field.interpolation import vertex_number
from us_recon.occupancy.field.loops import compiled_loop

_ONE = np.float32(1)
_MOST = 2 * BLOCK  # lattice vertices that the voxels of a block need along an axis


@compiled_loop
def look_up_blocks(
    blocks: Int64[np.ndarray, "n 3"],
    step: int,
    voxel_mm: float,
    spacing_mm: float,
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    values: Float32[np.ndarray, "vertices channels"],
    features: Float32[np.ndarray, "n side side side f"],
    first: int,
) -> None:
    """Interpolate the features at every `step`-th voxel of blocks into columns `first` and up.

    Its readable twin is `look_up`, which takes eight vertices for every point; here neighbouring
    voxels share what was interpolated along the axes before.

    Args:
        blocks: Index of each block; it covers voxels ``8 * index`` to ``8 * index + 7``.
        step: Voxels from one to the next that is looked at, a divisor of 8.
        voxel_mm: Edge of a voxel.
        spacing_mm: Of the lattice.
        low: Its first block.
        directory: Where its blocks are stored.
        values: Features of its vertices.
        features: To be filled.
        first: Column of the first channel.
    """
    channels, side = values.shape[1], BLOCK // step
    vertex, count = np.empty((3, _MOST), np.int64), np.empty(3, np.int64)
    lower, part = np.empty((3, side), np.int64), np.empty((3, side), np.float32)
    for n in range(len(blocks)):
        for axis in range(3):
            count[axis] = _needed(
                BLOCK * blocks[n, axis], step, np.float32(voxel_mm), np.float32(1.0 / spacing_mm),
                vertex[axis], lower[axis], part[axis],
            )  # fmt: skip
        corner = np.empty((count[0], count[1] * count[2] * channels), np.float32)
        _gather(vertex, count, low, directory, values, corner.reshape(-1, channels))
        along_x = np.empty((side, corner.shape[1]), np.float32)
        along_y = np.empty((side, count[2] * channels), np.float32)
        _between(corner, lower[0], part[0], along_x)
        for x in range(side):
            _between(along_x[x].reshape(count[1], -1), lower[1], part[1], along_y)
            for y in range(side):
                out = features[n, x, y, :, first : first + channels]
                _between(along_y[y].reshape(count[2], channels), lower[2], part[2], out)


@compiled_loop
def _gather(
    vertex: Int64[np.ndarray, "3 most"],
    count: Int64[np.ndarray, "3"],
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    values: Float32[np.ndarray, "vertices channels"],
    corner: Float32[np.ndarray, "all channels"],
) -> None:
    """Take the features of all vertices that a block needs, zero where there is none."""
    at = 0
    for i in range(count[0]):
        for j in range(count[1]):
            for k in range(count[2]):
                number = vertex_number(vertex[0, i], vertex[1, j], vertex[2, k], low, directory)
                for c in range(values.shape[1]):
                    corner[at, c] = values[number, c] if number >= 0 else 0.0
                at += 1


@compiled_loop
def _between(
    source: Float32[np.ndarray, "m rest"],
    lower: Int64[np.ndarray, " side"],
    part: Float32[np.ndarray, " side"],
    out: Float32[np.ndarray, "side rest"],
) -> None:
    """Interpolate along the first axis."""
    for p in range(len(lower)):
        a, u = lower[p], part[p]
        b = a + 1 if u > 0 else a
        for c in range(source.shape[1]):
            out[p, c] = (_ONE - u) * source[a, c] + u * source[b, c]


@compiled_loop
def _needed(
    voxel: int,
    step: int,
    voxel_mm: float,
    per_mm: float,
    vertex: Int64[np.ndarray, " most"],
    lower: Int64[np.ndarray, " side"],
    part: Float32[np.ndarray, " side"],
) -> int:
    """List the vertices that voxels along an axis lie between; return how many there are.

    `lower` gets the place in the list of the vertex before each voxel, the next one is that after
    it, and `part` how far between them the voxel lies.
    """
    count = 0
    for p in range(len(lower)):
        x = np.float32(voxel + p * step) * voxel_mm * per_mm
        i = int(np.floor(x))
        part[p] = x - np.float32(i)
        if count >= 2 and vertex[count - 2] == i:
            lower[p] = count - 2
        else:
            if count == 0 or vertex[count - 1] != i:
                vertex[count] = i
                count += 1
            lower[p] = count - 1
        if part[p] > 0 and vertex[count - 1] == i:
            vertex[count] = i + 1
            count += 1
    return count
