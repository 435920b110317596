"""Features on a sparse lattice: blocks of vertices that exist only where something was imaged."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from us_recon.occupancy.field.loops import compiled_loop

SIDE = 8  # vertices along an edge of a block
VERTICES = SIDE**3
CHANNELS = 2
BYTES_PER_BLOCK = VERTICES * CHANNELS * 4 * 4  # value, gradient and both moments of Adam
_MOST_DIRECTORY = 1 << 23  # blocks in the box around everything: 32 MiB of numbers
_MARGIN = 4  # blocks; a sweep must not move the directory at every frame
_FIRST_CAPACITY = 64


@dataclass(frozen=True, eq=False)
class LatticeArrays:
    """What a `FeatureLattice` holds, in the order in which its blocks were made.

    Attributes:
        blocks: Index of each block; it covers vertices ``8 * index`` to ``8 * index + 7``.
        values: Features of each vertex.
        mean: First moments of Adam.
        square: Second moments of Adam.
    """

    blocks: Int64[np.ndarray, "n 3"]
    values: Float32[np.ndarray, "vertices channels"]
    mean: Float32[np.ndarray, "vertices channels"]
    square: Float32[np.ndarray, "vertices channels"]


class FeatureLattice:
    """Feature vectors at ``spacing_mm * (i, j, k)``; zero where nothing was fitted yet.

    A directory over the box around all blocks tells where each one is stored, so that a compiled
    loop finds it with one look. Block b, vertex (x, y, z) is number ``512 b + 64 x + 8 y + z``.

    Attributes:
        low: Index of the directory's first block.
        directory: Number of each block in storage, -1 where there is none.
        refused_blocks: Blocks that were not made for want of memory or for lying too far off.
    """

    def __init__(self, spacing_mm: float, max_blocks: int) -> None:
        self.spacing_mm = spacing_mm
        self.max_blocks = max_blocks
        self._clear()

    def _clear(self) -> None:
        self.refused_blocks = 0
        self.low = np.zeros(3, np.int64)
        self.directory: Int32[np.ndarray, "x y z"] = np.full((0, 0, 0), -1, np.int32)
        self._blocks: list[tuple[int, int, int]] = []
        self._store = np.zeros((4, 0, CHANNELS), np.float32)
        self.marks: UInt8[np.ndarray, " vertices"] = np.zeros(0, np.uint8)

    @property
    def block_count(self) -> int:
        """Blocks held."""
        return len(self._blocks)

    @property
    def values(self) -> Float32[np.ndarray, "vertices channels"]:
        """Features of all vertices."""
        return self._store[0]

    @property
    def mean(self) -> Float32[np.ndarray, "vertices channels"]:
        """First moments of Adam."""
        return self._store[1]

    @property
    def square(self) -> Float32[np.ndarray, "vertices channels"]:
        """Second moments of Adam."""
        return self._store[2]

    @property
    def gradient(self) -> Float32[np.ndarray, "vertices channels"]:
        """Room for gradients, all zero between two steps."""
        return self._store[3]

    def cover(self, points_mm: Float32[np.ndarray, "n 3"]) -> None:
        """Make the blocks that interpolation at these points needs and that are missing."""
        if len(points_mm) == 0:
            return
        per_mm = np.float32(1.0 / self.spacing_mm)
        lowest_mm, highest_mm = _bounds(points_mm)
        low = np.floor(lowest_mm * per_mm).astype(np.int64) >> 3
        high = (np.floor(highest_mm * per_mm).astype(np.int64) + 1) >> 3
        if not self._reach(low, high):
            self.refused_blocks += 1
            return
        needed = np.zeros(tuple(high - low + 1), bool)
        _mark_blocks(points_mm, per_mm, low, needed)
        first = tuple(low - self.low)
        inside = tuple(slice(f, f + n) for f, n in zip(first, needed.shape, strict=True))
        held = self.directory[inside]
        for index in (np.argwhere(needed & (held < 0)) + low).tolist():
            self._make((index[0], index[1], index[2]))

    def blocks(self) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each block in the order of storage."""
        return np.array(self._blocks, np.int64).reshape(-1, 3)

    def arrays(self) -> LatticeArrays:
        """Return a copy of everything."""
        used = len(self._blocks) * VERTICES
        values, mean, square = (part[:used].copy() for part in self._store[:3])
        return LatticeArrays(self.blocks(), values, mean, square)

    def restore(self, arrays: LatticeArrays) -> None:
        """Replace the content by that of `arrays`."""
        self._clear()
        if len(arrays.blocks) == 0:
            return
        self._reach(arrays.blocks.min(axis=0), arrays.blocks.max(axis=0))
        for index in arrays.blocks.tolist():
            self._make((index[0], index[1], index[2]))
        used = len(arrays.blocks) * VERTICES
        for part, saved in enumerate((arrays.values, arrays.mean, arrays.square)):
            self._store[part, :used] = saved

    def _reach(self, low: Int64[np.ndarray, "3"], high: Int64[np.ndarray, "3"]) -> bool:
        """Let the directory reach from block `low` to block `high`, both included."""
        shape = np.array(self.directory.shape)
        old_low, old_high = (self.low, self.low + shape) if shape.all() else (low, low)
        new_low, new_high = np.minimum(low, old_low), np.maximum(high + 1, old_high)
        if (new_low == old_low).all() and (new_high == old_high).all():
            return True
        new_low = np.where(new_low < old_low, new_low - _MARGIN, new_low)
        new_high = np.where(new_high > old_high, new_high + _MARGIN, new_high)
        if np.prod((new_high - new_low).astype(np.float64)) > _MOST_DIRECTORY:
            return False
        directory = np.full(tuple(new_high - new_low), -1, np.int32)
        if shape.all():
            at = old_low - new_low
            inner = tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))
            directory[inner] = self.directory
        self.low, self.directory = new_low, directory
        return True

    def _make(self, index: tuple[int, int, int]) -> None:
        slot = len(self._blocks)
        if slot >= self.max_blocks:
            self.refused_blocks += 1
            return
        self.directory[tuple(np.array(index) - self.low)] = slot
        self._blocks.append(index)
        capacity = self._store.shape[1] // VERTICES
        if slot >= capacity:
            more = min(max(2 * capacity, _FIRST_CAPACITY), self.max_blocks) - capacity
            self._store = np.pad(self._store, ((0, 0), (0, more * VERTICES), (0, 0)))
            self.marks = np.pad(self.marks, (0, more * VERTICES))


@compiled_loop
def _bounds(
    points_mm: Float32[np.ndarray, "n 3"],
) -> tuple[Float32[np.ndarray, "3"], Float32[np.ndarray, "3"]]:
    """Return the least and the largest coordinates: NumPy takes ten times as long along n."""
    lowest, highest = points_mm[0].copy(), points_mm[0].copy()
    for n in range(1, points_mm.shape[0]):
        for axis in range(3):
            lowest[axis] = min(lowest[axis], points_mm[n, axis])
            highest[axis] = max(highest[axis], points_mm[n, axis])
    return lowest, highest


@compiled_loop
def _mark_blocks(
    points_mm: Float32[np.ndarray, "n 3"],
    per_mm: float,
    low: Int64[np.ndarray, "3"],
    needed: Bool[np.ndarray, "x y z"],
) -> None:
    """Mark the blocks of the eight vertices around each point."""
    for n in range(points_mm.shape[0]):
        i = int(np.floor(points_mm[n, 0] * per_mm))
        j = int(np.floor(points_mm[n, 1] * per_mm))
        k = int(np.floor(points_mm[n, 2] * per_mm))
        for c in range(8):
            x, y, z = i + (c >> 2), j + ((c >> 1) & 1), k + (c & 1)
            needed[(x >> 3) - low[0], (y >> 3) - low[1], (z >> 3) - low[2]] = True
