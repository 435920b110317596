"""Two numbers per voxel, stored in blocks only where something was observed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from us_recon.errors import InputError

BLOCK = 8  # voxels along an edge
_VOXELS = BLOCK**3
BYTES_PER_BLOCK = 2 * 4 * _VOXELS
_FIRST_CAPACITY = 256
_REACH = 1 << 20  # blocks on each side of the origin: 21 bits an axis fit one int64 key


@dataclass(frozen=True, eq=False)
class GridArrays:
    """What a `BlockGrid` holds, in the order of its blocks' keys.

    Attributes:
        blocks: Index of each block; it covers voxels ``8 * index`` to ``8 * index + 7``.
        value: One value per voxel.
        weight: 0 where the voxel was never observed.
    """

    blocks: Int64[np.ndarray, "n 3"]
    value: Float32[np.ndarray, "n 8 8 8"]
    weight: Float32[np.ndarray, "n 8 8 8"]


class BlockGrid:
    """A sparse voxel grid; voxel (i, j, k) has its centre at ``spacing_mm * (i, j, k)``."""

    def __init__(self, spacing_mm: float, max_blocks: int) -> None:
        """Make an empty grid.

        Args:
            spacing_mm: Edge of a voxel.
            max_blocks: Blocks of 8x8x8 voxels (4 KiB each) to hold at most.
        """
        if not spacing_mm > 0:
            raise InputError(f"spacing_mm is {spacing_mm}; expected more than 0")
        self.spacing_mm = spacing_mm
        self.max_blocks = max_blocks
        self.refused_blocks = 0
        self._slots: dict[int, int] = {}
        self._touched: set[int] = set()
        first = min(_FIRST_CAPACITY, max_blocks)
        self._value = np.zeros((first, _VOXELS), np.float32)
        self._weight = np.zeros((first, _VOXELS), np.float32)

    @property
    def block_count(self) -> int:
        """Blocks held."""
        return len(self._slots)

    @property
    def value(self) -> Float32[np.ndarray, " storage"]:
        """All values, to be indexed with the result of `locate`."""
        return self._value.reshape(-1)

    @property
    def weight(self) -> Float32[np.ndarray, " storage"]:
        """All weights, to be indexed with the result of `locate`."""
        return self._weight.reshape(-1)

    def locate(self, voxels: Int64[np.ndarray, "n 3"]) -> Int64[np.ndarray, " n"]:
        """Return where voxels are stored, making the blocks that are missing.

        A voxel is at -1 where its block would exceed `max_blocks`; such blocks are counted in
        `refused_blocks`, once each time they are asked for. Storage may move: index `value` and
        `weight` anew after each call. Whoever asks is taken to write there (see `take_touched`).
        """
        block = voxels >> 3
        keys, inverse = np.unique(block_keys(block), return_inverse=True)
        slots = np.array([self._slot(key) for key in keys.tolist()], np.int64)
        self._touched.update(keys.tolist())
        slot = slots[inverse.reshape(-1)]
        x, y, z = (voxels - (block << 3)).T
        return np.where(slot >= 0, slot * _VOXELS + (x * BLOCK + y) * BLOCK + z, -1)

    def take_touched(self) -> Int64[np.ndarray, " n"]:
        """Return the keys of blocks that were written to or dropped since the last call."""
        keys = np.array(sorted(self._touched), np.int64)
        self._touched.clear()
        return keys

    def arrays(self, only: Int64[np.ndarray, " n"] | None = None) -> GridArrays:
        """Return a copy, sorted by key, so that equal maps give equal arrays.

        Args:
            only: Keys of blocks; those of them that are held are returned. All unless told.
        """
        wanted = self._slots if only is None else self._slots.keys() & set(only.tolist())
        keys = np.array(sorted(wanted), np.int64)
        slots = np.array([self._slots[key] for key in keys.tolist()], np.int64)
        shape = (len(keys), BLOCK, BLOCK, BLOCK)
        return GridArrays(
            blocks=_blocks(keys),
            value=self._value[slots].reshape(shape),
            weight=self._weight[slots].reshape(shape),
        )

    def restore(self, arrays: GridArrays) -> None:
        """Replace the content by that of `arrays`.

        Raises:
            InputError: There are more blocks than `max_blocks`.
        """
        count = len(arrays.blocks)
        if count > self.max_blocks:
            raise InputError(f"the map has {count} blocks; max_blocks is {self.max_blocks}")
        self.clear()
        self._slots = {key: slot for slot, key in enumerate(block_keys(arrays.blocks).tolist())}
        self._touched.update(self._slots)
        self._grow(count)
        self._value[:count] = arrays.value.reshape(count, _VOXELS)
        self._weight[:count] = arrays.weight.reshape(count, _VOXELS)

    def clear(self) -> None:
        """Forget everything."""
        self.refused_blocks = 0
        self._touched.update(self._slots)
        self._slots.clear()
        self._value[:] = 0
        self._weight[:] = 0

    def observed_voxels(self) -> int:
        """Count the voxels that were observed."""
        return int(np.count_nonzero(self._weight[: len(self._slots)]))

    def _slot(self, key: int) -> int:
        slot = self._slots.get(key)
        if slot is not None:
            return slot
        if len(self._slots) >= self.max_blocks:
            self.refused_blocks += 1
            return -1
        slot = len(self._slots)
        self._slots[key] = slot
        self._grow(slot + 1)
        return slot

    def _grow(self, needed: int) -> None:
        capacity = len(self._value)
        if needed <= capacity:
            return
        more = max(needed, min(2 * capacity, self.max_blocks)) - capacity
        self._value = np.pad(self._value, ((0, more), (0, 0)))
        self._weight = np.pad(self._weight, ((0, more), (0, 0)))


def block_keys(blocks: Int64[np.ndarray, "n 3"]) -> Int64[np.ndarray, " n"]:
    """Pack block indices into one number each; the order is that of (x, y, z).

    Raises:
        InputError: A block is too far from the origin to be packed.
    """
    outside: Bool[np.ndarray, " n"] = (np.abs(blocks) >= _REACH).any(axis=1)
    if outside.any():
        raise InputError(f"block {blocks[outside][0]} is more than {_REACH} blocks from the origin")
    x, y, z = (blocks + _REACH).T
    return (x << 42) | (y << 21) | z


def keys_beside(keys: Int64[np.ndarray, " n"], side: int) -> Int64[np.ndarray, " m"]:
    """Return the keys of blocks and of the seven neighbours of each before or after it, sorted.

    Args:
        keys: Keys of blocks.
        side: -1 for the neighbours before, 1 for those after them along the three axes.
    """
    steps = np.array([(x << 42) + (y << 21) + z for x, y, z in np.ndindex(2, 2, 2)])
    return np.unique(keys[:, None] + side * steps)


def chosen_voxels(
    blocks: Int64[np.ndarray, "n 3"], chosen: Bool[np.ndarray, "n 8 8 8"]
) -> Int64[np.ndarray, "m 3"]:
    """Return the indices of voxels that are marked, in the order of the blocks."""
    found = np.argwhere(chosen)
    return np.asarray(BLOCK * blocks[found[:, 0]] + found[:, 1:], np.int64)


def _blocks(keys: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, "n 3"]:
    low = (1 << 21) - 1
    return np.stack([keys >> 42, (keys >> 21) & low, keys & low], axis=1) - _REACH
