"""A field on the voxels of a mesh, asked anew only where it may say something else now."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Int64

from us_recon.occupancy.block_grid import BLOCK, GridArrays, block_keys
from us_recon.occupancy.field.reading import FieldReading

Keys = Int64[np.ndarray, " n"]
Blocks = Int64[np.ndarray, "n 3"]
Voxels = Float32[np.ndarray, "n 8 8 8"]

_CLEARLY_EMPTY = -2.0  # log-odds 2 mm from which no surface is expected
_STEP = 2  # voxels between the probes that tell whether a block has to be asked
_NEVER = -1


@dataclass(frozen=True)
class Patience:
    """How far a live mesh may lag behind the field.

    Attributes:
        moved: Change of occupancy at a probe from which on a block is asked anew.
        most_moved: Blocks asked for that at one update, those that changed most first.
        oldest: Blocks asked at every update because they were not for longest.
    """

    moved: float = 0.05
    most_moved: int = 96
    oldest: int = 16


class FieldRaster:
    """The log-odds at the voxels of all blocks that may hold surface.

    Attributes:
        asked: Blocks asked at the last update.
    """

    def __init__(self, spacing_mm: float, patience: Patience | None = None) -> None:
        """Begin with nothing: the first update asks everywhere.

        Args:
            spacing_mm: Edge of a voxel.
            patience: How far it may lag behind.
        """
        self.spacing_mm = spacing_mm
        self.patience = patience or Patience()
        self.asked = 0
        self._updates = 0
        self._blocks: Blocks = np.zeros((0, 3), np.int64)
        self._log_odds: Voxels = np.zeros((0, BLOCK, BLOCK, BLOCK), np.float32)  # NaN: not asked
        self._weight: Voxels = self._log_odds
        self._asked_at: Keys = np.zeros(0, np.int64)

    def update(self, reading: FieldReading) -> Keys:
        """Follow the field; return the keys of the blocks that changed or are gone."""
        self._updates += 1
        blocks = reading.seen_blocks(self.spacing_mm)
        everywhere = np.ones((len(blocks), *3 * [BLOCK // _STEP]), bool)
        probes = reading.log_odds(blocks, self.spacing_mm, everywhere).reshape(everywhere.shape)
        hold = _may_hold_surface(blocks, probes > _CLEARLY_EMPTY)
        blocks, probes = blocks[hold], probes[hold]
        before = block_keys(self._blocks)
        known_before = self._move_to(blocks)
        views, front = (part.reshape(known_before.shape) for part in self._views(reading))
        chosen = self._choose(probes)
        ask = (views > 0) & (chosen[:, None, None, None] | np.isnan(self._log_odds))
        asked = ask.any(axis=(1, 2, 3))
        self._log_odds[ask] = reading.log_odds(blocks[asked], self.spacing_mm, ask[asked])
        self._asked_at[chosen] = self._updates
        self.asked = int(chosen.sum())
        # What is empty must have been seen to be so: bone's far side never was.
        known = (views > 0) & ((self._log_odds > 0) | front)
        self._weight = np.where(known, views, np.float32(0))
        changed = chosen | (known != known_before).any(axis=(1, 2, 3))
        keys = block_keys(blocks)
        return np.union1d(keys[changed], np.setdiff1d(before, keys))

    def arrays(self, only: Keys | None = None) -> GridArrays:
        """Return blocks with values below 0 inside, all of them unless told which."""
        keys = block_keys(self._blocks)
        part = np.ones(len(keys), bool) if only is None else np.isin(keys, only)
        value = -np.nan_to_num(self._log_odds[part])
        return GridArrays(self._blocks[part], value, self._weight[part])

    def _views(
        self, reading: FieldReading
    ) -> tuple[Float32[np.ndarray, " voxels"], Bool[np.ndarray, " voxels"]]:
        """Return what was seen at all voxels."""
        inner = np.argwhere(np.ones(3 * [BLOCK], bool)).astype(np.float32)
        corner = (BLOCK * self._blocks).astype(np.float32)  # exact, as the sum with small integers
        voxels = (corner[:, None] + inner).reshape(-1, 3)
        return reading.views(voxels * np.float32(self.spacing_mm))

    def _move_to(self, blocks: Blocks) -> Bool[np.ndarray, "n 8 8 8"]:
        """Hold these blocks and no others; return which of their voxels were known so far."""
        shape = (len(blocks), BLOCK, BLOCK, BLOCK)
        log_odds, known = np.full(shape, np.nan, np.float32), np.zeros(shape, bool)
        asked_at = np.full(len(blocks), _NEVER)
        _, new, old = np.intersect1d(
            block_keys(blocks), block_keys(self._blocks), assume_unique=True, return_indices=True
        )
        log_odds[new], known[new] = self._log_odds[old], self._weight[old] > 0
        asked_at[new] = self._asked_at[old]
        self._blocks, self._log_odds, self._asked_at = blocks, log_odds, asked_at
        return known

    def _choose(self, probes: Float32[np.ndarray, "n 4 4 4"]) -> Bool[np.ndarray, " n"]:
        """Return the blocks to ask once more: those in which the field moved, and the oldest."""
        patience = self.patience
        held = self._log_odds[:, ::_STEP, ::_STEP, ::_STEP]
        change = np.nan_to_num(np.abs(_occupancy(probes) - _occupancy(held)))
        moved = change.max(axis=(1, 2, 3), initial=0)
        most = np.argsort(-moved, kind="stable")[: patience.most_moved]
        chosen = self._asked_at == _NEVER
        chosen[most[moved[most] > patience.moved]] = True
        rest = np.flatnonzero(~chosen)
        oldest = rest[np.argsort(self._asked_at[rest], kind="stable")[: patience.oldest]]
        chosen[oldest] = True
        return chosen


def _may_hold_surface(blocks: Blocks, full: Bool[np.ndarray, "n 4 4 4"]) -> Bool[np.ndarray, " n"]:
    """Return the blocks that are not empty throughout, or lie beside what is not.

    A field may be as sharp as its voxels: full at the end of a block, empty where the next begins.
    """
    keys = block_keys(blocks)
    found = np.zeros(len(keys), bool)
    ends = {-1: slice(0, 1), 0: slice(None), 1: slice(-1, None)}
    for offset in product(ends, repeat=3):
        here = full[(slice(None), *(ends[step] for step in offset))].any(axis=(1, 2, 3))
        found |= np.isin(keys, block_keys(blocks[here] + np.array(offset)))
    return found


def _occupancy(log_odds: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    return 1 / (1 + np.exp(-log_odds))
