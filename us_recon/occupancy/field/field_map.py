"""A map whose surface comes from the field, with voxels as its partner."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from scipy.spatial import KDTree

from us_recon.errors import InputError
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BLOCK, BlockGrid, block_keys
from us_recon.occupancy.brightness import Calibration
from us_recon.occupancy.field.fit import FieldFit, Learnt
from us_recon.occupancy.field.raster import FieldRaster
from us_recon.occupancy.field.reading import FieldReading
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
from us_recon.occupancy.live_surface import LiveSurface
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import vertex_normals
from us_recon.occupancy.mesh_tools import (
    Points,
    around_vertices,
    parts_near,
    without_small_parts,
)
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.region import Shown
from us_recon.occupancy.voxels import LogOddsMap

_TOUCHING_VOXELS = 2.0
_CROSSING = 0.8  # length of the mean direction: with less, over a tenth may come from behind
_TURNED = 0.1  # sine of the least angle between surface and beams: along them it is a guess
_FIRST_FRAMES, _FIRST_STEPS = 10, 16  # a network that has seen nothing needs some steps first
_SETTLED_PACE = 0.1  # of the learning rates, at the end of a scan


class FieldMap:
    """Fit a field to all frames and fuse it with the log-odds of their surfaces.

    The field explains images, labelled or not; the voxels remember surfaces exactly where they
    were. A surface is shown only where the empty space in front of it was seen, and where it is
    turned towards the beams that came there: of bone's far side no view tells anything.

    Steps may be left to a thread (`step_later`) while the next frame is prepared. All that looks at
    the field waits for them first, so that the result is the same.
    """

    def __init__(self, settings: FieldSettings, voxels: LogOddsMap, min_depth_mm: float) -> None:
        self.settings = settings
        self.voxels = voxels
        self.fit = FieldFit(settings)
        coarse, fine = self.fit.lattices[-2:]
        self.seen = SeenVoxels(fine, coarse, min_depth_mm)
        self.replay: Replay | None = None
        self.calibration: Calibration | None = None
        self.refused_frames = 0
        self.raster = FieldRaster(self.grid.spacing_mm)
        self.live = LiveSurface(self.grid.spacing_mm, min_weight=0.0)
        self._thread = ThreadPoolExecutor(1, "us_recon field")
        self._under_way: Future[None] | None = None
        self._settled_at: tuple[int, int] | None = None  # frames and steps

    @property
    def full(self) -> bool:
        """Whether blocks of features were refused for want of memory."""
        return any(lattice.refused_blocks > 0 for lattice in self.fit.lattices)

    @property
    def grid(self) -> BlockGrid:
        """The partner's voxels."""
        return self.voxels.grid

    def integrate(
        self,
        frame: TrackedFrame,
        shown: Shown | None,
        half_thickness_mm: float,
    ) -> int:
        """Take one frame in and return how many voxels of the partner changed.

        The field itself moves at the next steps. It knows images of one geometry alone: frames of
        another one enter the voxels and are counted in `refused_frames`.

        Args:
            frame: The frame.
            shown: What is known of the target in it, None for nothing.
            half_thickness_mm: How far it speaks for what lies off its plane.
        """
        changed = 0
        if shown is not None:
            changed = self.voxels.integrate(frame, shown, half_thickness_mm)
        lines = LineGeometry.of(frame.geometry)
        if self.replay is None:
            settings = self.settings
            self.replay = Replay(lines, settings.replay_memory_mb, settings.sound_passes)
        elif lines != self.replay.lines:
            self.refused_frames += 1
            return changed
        prepared, self.calibration = scanlines(frame, shown, lines, self.calibration)
        self.wait()
        self.replay.add(prepared, half_thickness_mm)
        points = self.replay.newest_points_mm(self.seen.lattice.spacing_mm)
        for lattice in self.fit.lattices:
            lattice.cover(points)
        self.seen.grow()
        self.fit.begin(self.replay)
        return changed

    def step(self, count: int) -> None:
        """Take steps on the newest frame and on all others, and more at the start of a scan."""
        self.wait()
        self._take_steps(count)

    def step_later(self, count: int) -> None:
        """Begin to take steps as `step` does, in a thread of their own."""
        self.wait()
        self._under_way = self._thread.submit(self._take_steps, count)

    def wait(self) -> None:
        """Wait for the steps under way; an error in them comes up here."""
        steps, self._under_way = self._under_way, None
        if steps is not None:
            steps.result()

    def settle(self, count: int) -> None:
        """Come to rest at the end of a scan: steps on all frames alike, smaller and smaller.

        Steps of full size follow new frames fast and leave the field trembling. A field that has
        come to rest stays as it is.
        """
        self.wait()
        if self.replay is None or self._settled_at == (self.replay.arrived, self.fit.steps):
            return
        for pace in _SETTLED_PACE ** np.linspace(0, 1, count):
            self._look_back(self.replay, self.fit.settle(self.replay, float(pace)))
        self._settled_at = self.replay.arrived, self.fit.steps

    def _take_steps(self, count: int) -> None:
        if self.replay is None:
            return
        if count > 0 and self.replay.arrived <= _FIRST_FRAMES:
            count += _FIRST_STEPS
        for _ in range(count):
            self._look_back(self.replay, self.fit.step(self.replay))

    def _look_back(self, replay: Replay, learnt: Learnt | None) -> None:
        """Count anew how far the beams see that a step looked at."""
        if learnt is not None:
            self.seen.update(self.fit, replay, learnt.picks, learnt.transmission)

    def extract_mesh(self, complete: bool = True, spacing_mm: float | None = None) -> Mesh:
        """Return the surface where it was seen.

        Args:
            complete: Ask everywhere, and look anew how far every frame sees. Otherwise beams see as
                far as they did when a step last looked at them, and blocks in which the field
                hardly moved stay as they are (see `FieldRaster`): for watching a scan.
            spacing_mm: Edge of a voxel; that of the partner's unless told.
        """
        self.wait()
        if self.replay is None or self.fit.clutter is None:
            return Mesh.empty()
        spacing_mm = spacing_mm or self.grid.spacing_mm
        if not complete and spacing_mm == self.grid.spacing_mm:
            changed = self.raster.update(self.reading(self.seen.counts))
            return self.shown_parts(self.live.update(changed, self.raster.arrays))
        counts = self.seen.fresh(self.fit, self.replay) if complete else self.seen.counts
        raster = FieldRaster(spacing_mm)
        raster.update(self.reading(counts))
        return self.shown_parts(extract_surface(raster.arrays(), spacing_mm, min_weight=0.0))

    def shown_parts(self, mesh: Mesh) -> Mesh:
        """Leave out what no image can have shown, and what too little speaks for.

        No image shows what is turned away from all beams that came there: the far side of bone.
        Too little speaks for a small part where the voxels, which every frame's surface went to,
        hold nothing. Sound passes an organ; there it is all parts that no label touches, which
        merely look like one.
        """
        if self.settings.sound_passes:
            labelled_mm = self.voxels.occupied_voxels() * self.grid.spacing_mm
            return parts_near(mesh, labelled_mm, _TOUCHING_VOXELS * self.grid.spacing_mm)
        beams = self.seen.directions(mesh.vertices_mm)
        length = np.linalg.norm(beams, axis=1)
        faces_them = (beams * vertex_normals(mesh)).sum(axis=1) <= -_TURNED * length
        cross = length < _CROSSING
        shown = around_vertices(mesh, faces_them | cross)
        return without_small_parts(shown, self.settings.min_alone_mm2, self._touch_voxels)

    def _touch_voxels(self, points_mm: Points) -> Bool[np.ndarray, " n"]:
        """Tell which points lie beside a voxel that is more likely occupied than not."""
        spacing_mm, block_mm = self.grid.spacing_mm, BLOCK * self.grid.spacing_mm
        reach_mm = _TOUCHING_VOXELS * spacing_mm
        corners = np.stack([points_mm - reach_mm, points_mm + reach_mm], axis=1) / block_mm
        blocks = [np.stack(at, axis=-1) for at in product(*np.floor(corners).astype(int).T)]
        around = np.unique(block_keys(np.concatenate(blocks)))
        occupied = self.voxels.occupied_voxels(around) * spacing_mm
        if len(occupied) == 0:
            return np.zeros(len(points_mm), bool)
        far_mm, _ = KDTree(occupied).query(points_mm, distance_upper_bound=reach_mm)
        return np.isfinite(far_mm)

    def reading(self, counts: Counts) -> FieldReading:
        """Return what field and voxels say now, with what was seen as `counts` tell.

        Raises:
            InputError: There is no frame yet.
        """
        self.wait()
        if self.replay is None:
            raise InputError("the field has no frame yet; expected one at least")
        settings = self.settings
        return FieldReading(
            self.fit, self.seen, self.replay, counts, self.grid,
            settings.voxel_weight, settings.min_views,
        )  # fmt: skip

    def empty_voxels(self) -> Int64[np.ndarray, "n 3"]:
        """Return the voxels that the partner clearly saw to be empty."""
        return self.voxels.empty_voxels()

    def state(self) -> dict[str, Any]:
        """Return all that scanning goes on from, but the partner's voxels."""
        self.wait()
        arrays = fit_state(self.fit) | {
            "seen": self.seen.counts,
            "beams": self.seen.beams,
        }
        if self.replay is not None and self.calibration is not None:
            arrays |= replay_state(self.replay, self.calibration)
        return arrays

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on where `state` was called; the map must be a new one."""
        restore_fit(self.fit, arrays)
        if "replay" in arrays:
            memory_mb = self.settings.replay_memory_mb
            self.replay, self.calibration = restored_replay(arrays, memory_mb)
        self.seen.restore(arrays["seen"], arrays.get("beams"), self.replay)
