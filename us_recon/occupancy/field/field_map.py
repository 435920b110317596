"""A map whose surface comes from the field, with voxels as its partner."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BLOCK, BlockGrid, GridArrays
from us_recon.occupancy.brightness import Calibration
from us_recon.occupancy.field.agreement import Agreement
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.interpolation import look_up
from us_recon.occupancy.field.lattice import VERTICES, FeatureLattice, LatticeArrays
from us_recon.occupancy.field.replay import Replay
from us_recon.occupancy.field.scanlines import LineGeometry, scanlines
from us_recon.occupancy.field.seen import Counts, SeenVoxels
from us_recon.occupancy.field.settings import FieldSettings
from us_recon.occupancy.field.state import (
    fit_state,
    replay_state,
    restore_fit,
    restored_replay,
)
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.surface import BeamSurface
from us_recon.occupancy.voxels import LogOddsMap

_BOUND = 6.0  # log-odds at which the field is certain
_FIRST_FRAMES, _FIRST_STEPS = 10, 16  # a network that has seen nothing needs some steps first
_POINTS_AT_ONCE = 1 << 16
_CLEARLY_EMPTY = -2.0  # log-odds 2 mm from which no surface is expected

Blocks = Int64[np.ndarray, "n 3"]
Voxels = Float32[np.ndarray, "n 8 8 8"]


class FieldMap:
    """Fit a field to all frames and fuse it with the log-odds of their surfaces.

    The field explains images, labelled or not; the voxels remember surfaces exactly where they
    were. A surface is shown only where the empty space in front of it was seen.
    """

    def __init__(self, settings: FieldSettings, voxels: LogOddsMap, min_depth_mm: float) -> None:
        self.settings = settings
        self.voxels = voxels
        self.fit = FieldFit(settings)
        self.seen = SeenVoxels(self.fit.lattices[-1], min_depth_mm)
        self.replay: Replay | None = None
        self.calibration: Calibration | None = None
        self.agreement = Agreement()
        self.refused_frames = 0

    @property
    def full(self) -> bool:
        """Whether blocks of features were refused for want of memory."""
        return any(lattice.refused_blocks > 0 for lattice in self.fit.lattices)

    @property
    def grid(self) -> BlockGrid:
        """The partner's voxels."""
        return self.voxels.grid

    def integrate(
        self, frame: TrackedFrame, surface: BeamSurface | None, half_thickness_mm: float
    ) -> int:
        """Take one frame in and return how many voxels of the partner changed.

        The field itself moves at the next steps. It knows images of one geometry alone: frames of
        another one enter the voxels and are counted in `refused_frames`.

        Args:
            frame: The frame.
            surface: What is known of the target in it, None for nothing.
            half_thickness_mm: How far it speaks for what lies off its plane.
        """
        changed = 0
        if surface is not None:
            changed = self.voxels.integrate(frame, surface, half_thickness_mm)
        lines = LineGeometry.of(frame.geometry)
        if self.replay is None:
            self.replay = Replay(lines, self.settings.replay_memory_mb)
        elif lines != self.replay.lines:
            self.refused_frames += 1
            return changed
        prepared, self.calibration = scanlines(frame, surface, lines, self.calibration)
        self.replay.add(prepared, half_thickness_mm)
        points = self.replay.newest_points_mm(self.seen.lattice.spacing_mm)
        for lattice in self.fit.lattices:
            lattice.cover(points)
        self.seen.grow()
        self.fit.begin(self.replay)
        return changed

    def step(self, count: int) -> None:
        """Take steps on the newest frame and on all others, and more at the start of a scan."""
        if self.replay is None:
            return
        if count > 0 and self.replay.arrived <= _FIRST_FRAMES:
            count += _FIRST_STEPS
        for _ in range(count):
            learnt = self.fit.step(self.replay)
            if learnt is not None:
                self.seen.update(self.fit, self.replay, learnt.picks, learnt.transmission)

    def extract_mesh(self, spacing_mm: float | None = None, complete: bool = True) -> Mesh:
        """Return the surface where it was seen.

        Args:
            spacing_mm: Edge of a voxel; that of the partner's unless told.
            complete: Look anew how far every frame sees; otherwise beams see as far as they did
                when a step last looked at them, which is faster.
        """
        if self.replay is None or self.fit.clutter is None:
            return Mesh.empty()
        spacing_mm = spacing_mm or self.grid.spacing_mm
        counts = self.seen.fresh(self.fit, self.replay) if complete else self.seen.counts
        blocks = self._seen_blocks(counts, spacing_mm)
        if len(blocks) == 0:
            return Mesh.empty()
        partner = _Partner(self.grid)
        blocks = blocks[self._may_hold_surface(blocks, spacing_mm, partner)]
        if len(blocks) == 0:
            return Mesh.empty()
        parts = [
            self._voxels(part, spacing_mm, counts, partner)
            for part in np.array_split(blocks, len(blocks) * VERTICES // _POINTS_AT_ONCE + 1)
        ]
        value, weight = (np.concatenate(both) for both in zip(*parts, strict=True))
        return extract_surface(GridArrays(blocks, value, weight), spacing_mm, min_weight=0.0)

    def empty_voxels(self) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that the partner clearly saw to be empty."""
        return self.voxels.empty_voxels()

    def state(self) -> dict[str, Any]:
        """Return all that scanning goes on from, but the partner's voxels."""
        arrays = fit_state(self.fit) | {
            "seen": self.seen.counts,
            "shares": np.array(self.agreement.shares),
        }
        if self.replay is not None and self.calibration is not None:
            arrays |= replay_state(self.replay, self.calibration)
        return arrays

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on where `state` was called; the map must be a new one."""
        restore_fit(self.fit, arrays)
        self.agreement.shares = arrays["shares"].tolist()
        self.seen.grow()
        counts = arrays["seen"][:, : self.seen.counts.shape[1]]
        self.seen.counts[:, : counts.shape[1]] = counts
        if "replay" in arrays:
            memory_mb = self.settings.replay_memory_mb
            self.replay, self.calibration = restored_replay(arrays, memory_mb)

    def _voxels(
        self, blocks: Blocks, spacing_mm: float, counts: Counts, partner: "_Partner"
    ) -> tuple[Voxels, Voxels]:
        """Return value (below 0 inside) and weight at the voxels of some blocks."""
        assert self.replay is not None
        inner = np.stack(np.meshgrid(*3 * [np.arange(BLOCK)], indexing="ij"), axis=-1)
        voxels = (BLOCK * blocks)[:, None] + inner.reshape(-1, 3)
        points = (voxels.reshape(-1, 3) * spacing_mm).astype(np.float32)
        empty_views, views = self.seen.views(counts, self.replay, points)
        known = views > 0
        log_odds = np.zeros(len(points), np.float32)
        log_odds[known] = np.clip(self.fit.log_odds(points[known]), -_BOUND, _BOUND)
        log_odds += np.float32(self.settings.voxel_weight) * partner.log_odds(points)
        # What is empty must have been seen to be so: bone's far side never was.
        known &= (log_odds > 0) | (empty_views >= self.settings.min_views)
        shape = (len(blocks), BLOCK, BLOCK, BLOCK)
        return -log_odds.reshape(shape), np.where(known, views, 0).reshape(shape)

    def _may_hold_surface(
        self, blocks: Blocks, spacing_mm: float, partner: "_Partner"
    ) -> Bool[np.ndarray, " n"]:
        """Return the blocks in which every second voxel does not already say: empty throughout."""
        inner = np.stack(np.meshgrid(*3 * [np.arange(0, BLOCK + 1, 2)], indexing="ij"), axis=-1)
        inner = inner.reshape(-1, 3)
        found = np.zeros(len(blocks), bool)
        at_once = _POINTS_AT_ONCE // len(inner)
        for first in range(0, len(blocks), at_once):
            part = slice(first, first + at_once)
            voxels = (BLOCK * blocks[part])[:, None] + inner
            points = (voxels.reshape(-1, 3) * spacing_mm).astype(np.float32)
            log_odds = np.clip(self.fit.log_odds(points), -_BOUND, _BOUND)
            log_odds += np.float32(self.settings.voxel_weight) * partner.log_odds(points)
            found[part] = (log_odds.reshape(-1, len(inner)) > _CLEARLY_EMPTY).any(axis=1)
        return found

    def _seen_blocks(self, counts: Counts, spacing_mm: float) -> Blocks:
        """Return the blocks of voxels in which something was seen."""
        lattice = self.seen.lattice
        used = lattice.block_count
        seen = counts[1, : used * VERTICES].reshape(used, VERTICES).any(axis=1)
        ratio = lattice.spacing_mm / spacing_mm
        first = np.floor(lattice.blocks()[seen] * ratio).astype(np.int64)
        reach = np.arange(int(np.ceil(ratio - 1e-9)) + (not float(ratio).is_integer()))
        around = np.stack(np.meshgrid(*3 * [reach], indexing="ij"), axis=-1).reshape(-1, 3)
        return np.unique((first[:, None] + around).reshape(-1, 3), axis=0)


class _Partner:
    """The voxels' log-odds between their centres."""

    def __init__(self, grid: BlockGrid) -> None:
        arrays = grid.arrays()
        self._lattice = FeatureLattice(grid.spacing_mm, max(len(arrays.blocks), 1))
        values = np.repeat(arrays.value.reshape(-1, 1), 2, axis=1)
        self._lattice.restore(LatticeArrays(arrays.blocks, values, values, values))

    def log_odds(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Return the log-odds at points, 0 where nothing is known."""
        lattice, count = self._lattice, len(points_mm)
        out = np.zeros((count, 2), np.float32)
        look_up(
            points_mm, lattice.spacing_mm, lattice.low, lattice.directory, lattice.values,
            out, 0, np.empty((count, 8), np.int32), np.empty((count, 8), np.float32),
        )  # fmt: skip
        return out[:, 0]
