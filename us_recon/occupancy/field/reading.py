"""What a field and its partner's voxels say at points, at one moment."""

import numpy as np
from jaxtyping import Bool, Float32, Int64

from us_recon.occupancy.block_grid import BLOCK, BlockGrid
from us_recon.occupancy.field.block_look_up import look_up_blocks
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.lattice import FeatureLattice
from us_recon.occupancy.field.replay import Replay
from us_recon.occupancy.field.seen import Counts, SeenVoxels

Points = Float32[np.ndarray, "n 3"]
Blocks = Int64[np.ndarray, "n 3"]

_BOUND = 6.0  # log-odds at which the field is certain


class FieldReading:
    """Ask a field and its partner at points in the world.

    Attributes:
        counts: How often each vertex of the finest lattice was seen.
    """

    def __init__(
        self,
        fit: FieldFit,
        seen: SeenVoxels,
        replay: Replay,
        counts: Counts,
        partner: BlockGrid,
        partner_weight: float,
        min_views: float,
    ) -> None:
        """Take the partner's voxels as they are now.

        Args:
            fit: The field.
            seen: Knows which vertex is where.
            replay: The frames that counted.
            counts: What they counted.
            partner: Log-odds of voxels.
            partner_weight: What these weigh against the field's.
            min_views: Frames that must have seen what is empty.
        """
        self.counts = counts
        self._fit, self._seen, self._replay = fit, seen, replay
        self._partner = _Partner(partner, seen.lattice)
        self._partner_weight, self._min_views = np.float32(partner_weight), min_views

    def log_odds(
        self, blocks: Blocks, voxel_mm: float, wanted: Bool[np.ndarray, "n side side side"]
    ) -> Float32[np.ndarray, " wanted"]:
        """Return the log-odds of occupancy at voxels of blocks (see `FieldFit.log_odds_in`)."""
        of_field = np.clip(self._fit.log_odds_in(blocks, voxel_mm, wanted), -_BOUND, _BOUND)
        of_partner = self._partner.log_odds_in(blocks, voxel_mm, wanted.shape[1])[wanted]
        return of_field + self._partner_weight * of_partner

    def views(self, points_mm: Points) -> tuple[Float32[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Return about how many frames saw anything, and whether enough saw empty space."""
        empty_views, views = self._seen.views(self.counts, self._replay, points_mm)
        return views, empty_views >= self._min_views

    def seen_blocks(self, spacing_mm: float) -> Blocks:
        """Return the blocks of voxels in which something was seen, in the order of their keys."""
        lattice = self._seen.lattice
        used = lattice.block_count
        seen = self.counts[1].reshape(-1, BLOCK**3)[:used].any(axis=1)
        ratio = lattice.spacing_mm / spacing_mm
        first = np.floor(lattice.blocks()[seen] * ratio).astype(np.int64)
        reach = np.arange(int(np.ceil(ratio - 1e-9)) + (not float(ratio).is_integer()))
        around = np.stack(np.meshgrid(*3 * [reach], indexing="ij"), axis=-1).reshape(-1, 3)
        return np.unique((first[:, None] + around).reshape(-1, 3), axis=0)


class _Partner:
    """The voxels' log-odds between their centres."""

    def __init__(self, grid: BlockGrid, around: FeatureLattice) -> None:
        """Take the voxels within a lattice's box; others may lie far away."""
        arrays = grid.arrays()
        self._spacing_mm = grid.spacing_mm
        ratio = around.spacing_mm / grid.spacing_mm
        low = np.floor(around.low * ratio).astype(np.int64)
        high = np.ceil((around.low + around.directory.shape) * ratio).astype(np.int64)
        inside = ((arrays.blocks >= low) & (arrays.blocks <= high)).all(axis=1)
        blocks = arrays.blocks[inside]
        self._values = arrays.value[inside].reshape(-1, 1)
        self._low = blocks.min(axis=0) if len(blocks) else low
        shape = (blocks - self._low).max(axis=0, initial=0) + 1
        self._directory = np.full(tuple(shape), -1, np.int32)
        self._directory[tuple((blocks - self._low).T)] = np.arange(len(blocks))

    def log_odds_in(
        self, blocks: Blocks, voxel_mm: float, side: int
    ) -> Float32[np.ndarray, "n side side side"]:
        """Return the log-odds at the voxels of blocks, 0 where nothing is known."""
        out = np.empty((len(blocks), side, side, side, 1), np.float32)
        look_up_blocks(
            blocks, BLOCK // side, voxel_mm, self._spacing_mm,
            self._low, self._directory, self._values, out, 0,
        )  # fmt: skip
        return out[..., 0]
