"""The occupancy mapper: tracked frames in, a surface out; the same object online and offline."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.frame_surfaces import FrameSurfaces
from us_recon.occupancy.map_files import MapRecord, read_map, write_map
from us_recon.occupancy.mapper_settings import MapMethod, MapperSettings
from us_recon.occupancy.maps import SurfaceMap
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import without_small_parts
from us_recon.occupancy.prior.completion import Completed, ShapeCompletion
from us_recon.occupancy.prior.decoder import ImageDecoder
from us_recon.occupancy.prior.files import read_prior
from us_recon.occupancy.region import Shown, labelled_region
from us_recon.occupancy.slice_thickness import SliceThickness
from us_recon.occupancy.surface import SurfaceSource
from us_recon.occupancy.views import View, ViewLog
from us_recon.settings import from_mapping, valid

if TYPE_CHECKING:  # it learns with PyTorch, which other maps can do without
    from us_recon.occupancy.label_learning import LabelLearner

__all__ = ["IntegrationResult", "MapMethod", "MapSnapshot", "MapperSettings", "OccupancyMapper"]


@dataclass(frozen=True, eq=False)
class IntegrationResult:
    """What one frame did to the map.

    Attributes:
        source: What its surface was taken from.
        beams: Beams that show a surface.
        voxels: Voxels that changed.
        surface: The frame's surface or region, None where its source is not to be used.
    """

    source: SurfaceSource
    beams: int
    voxels: int
    surface: Shown | None = None


@dataclass(frozen=True, eq=False)
class MapSnapshot:
    """The map at one moment.

    Attributes:
        mesh: Its surface; empty as long as there is none.
        frames: Frames integrated.
        frames_with_surface: Those of them that showed a surface.
        observed_volume_mm3: Volume of the voxels that were observed.
        full: Whether voxels were refused for want of memory.
        message: Why there is no surface, or that the map is full; empty where all is well.
        prior: What a prior did, or why it did nothing; None without a prior.
    """

    mesh: Mesh
    frames: int
    frames_with_surface: int
    observed_volume_mm3: float
    full: bool
    message: str
    prior: Completed | None = None


class OccupancyMapper:
    """Fuse the surfaces of tracked frames into a map.

    The result depends on the frames and their order alone.
    """

    def __init__(self, settings: MapperSettings | None = None) -> None:
        """Start an empty map.

        Raises:
            InputError: The file of the prior cannot be read.
            ConfigError: Settings out of range or that do not go together.
        """
        self.settings = valid(settings or MapperSettings())
        self._prior = read_prior(self.settings.prior) if self.settings.prior else None
        self.reset()

    @property
    def decoder(self) -> ImageDecoder | None:
        """What earlier subjects taught the detector; None without a prior that holds it."""
        return None if self._prior is None else self._prior.decoder

    @property
    def learner(self) -> "LabelLearner | None":
        """What the adaptive detector has learnt from labels, to be looked at; else None."""
        return self._surfaces.learner

    def reset(self) -> None:
        """Forget everything but the prior."""
        self._map = self.settings.new_map()
        self._views = ViewLog()
        self._slices = SliceThickness(self.settings.spacing_mm, self.settings.half_thickness_mm)
        self._surfaces = FrameSurfaces(self.settings, self.decoder)
        self._completion = None if self._prior is None else ShapeCompletion(self._prior.shape)
        self._frames = self._frames_with_surface = 0

    def integrate(
        self, frame: TrackedFrame, steps: int | None = None, learning_steps: int | None = None
    ) -> IntegrationResult:
        """Take one frame into the map.

        One whose label came late was taken before without it and counts once.

        Args:
            frame: The frame.
            steps: Steps that a field is fitted for; as many as the settings say unless told.
            learning_steps: Steps that are learnt from its label, likewise.

        Raises:
            InputError: Image or label have another size than the frame's geometry.
        """
        if not frame.late:
            self._frames += 1
            self._views.add(frame.T_world_transducer, frame.geometry)
        shown = self._shown(frame, learning_steps)
        voxels = self._fused(frame, shown, steps)
        if shown is None:
            return IntegrationResult(SurfaceSource.NONE, 0, 0)
        beams = int(shown.found.sum())
        counted_before = frame.late and self.settings.target == "bone"
        self._frames_with_surface += beams > 0 and not counted_before
        return IntegrationResult(shown.source, beams, voxels, shown)

    def _shown(self, frame: TrackedFrame, learning_steps: int | None) -> Shown | None:
        """Return what the frame shows of the target."""
        if self.settings.target == "organ":
            label = self._label(frame)
            return None if label is None else labelled_region(label, frame.image, frame.geometry)
        return self._surfaces.of(frame, self._label(frame), learning_steps)

    def _fused(self, frame: TrackedFrame, shown: Shown | None, steps: int | None) -> int:
        """Take what a frame shows into the map; return how many voxels that changed."""
        by_field = isinstance(self._map, FieldMap)  # which learns from images alone, too
        if shown is None and not by_field and self.settings.target == "organ":
            return 0  # slices are as far apart as labels are: frames between leave the gap open
        comes_again = frame.late and (by_field or self.settings.target == "bone")
        labelled = shown is not None and shown.source == SurfaceSource.LABEL
        half_thickness_mm = self._slices(frame, labelled=labelled, again=comes_again)
        if isinstance(self._map, FieldMap):
            voxels = self._map.integrate(frame, shown, half_thickness_mm)
            self._map.step_later(self.settings.steps_per_frame if steps is None else steps)
            return voxels
        return 0 if shown is None else self._map.integrate(frame, shown, half_thickness_mm)

    def _label(self, frame: TrackedFrame) -> UInt8[np.ndarray, "rows columns"] | None:
        """Return the frame's label with the target's value alone."""
        value = self.settings.label_value
        if frame.label is None or value == 0:
            return frame.label
        return (frame.label == value).astype(np.uint8)

    @property
    def frames(self) -> int:
        """Frames in the map."""
        return self._frames

    @property
    def map(self) -> SurfaceMap:
        """The map itself, to be looked at; `integrate` alone changes it."""
        if isinstance(self._map, FieldMap):
            self._map.wait()
        return self._map

    def step(self, count: int) -> None:
        """Fit a field for some more steps to what it was shown; other maps have nothing to do."""
        if isinstance(self._map, FieldMap):
            self._map.step(count)

    def settle(self, steps: int | None = None) -> None:
        """Bring a field to rest at the end of a scan; other maps have nothing to do.

        Scanning may go on afterwards.

        Args:
            steps: For how many steps; as many as the settings say unless told.
        """
        if isinstance(self._map, FieldMap):
            self._map.settle(self.settings.settle_steps if steps is None else steps)

    def look_again(self, steps: int) -> None:
        """Forget the map, but not what labels have taught; show the frames once more from there.

        For recordings, whose first frames were mapped before there were labels to learn from.

        Args:
            steps: For how many more steps to learn before.
        """
        taught = self._surfaces.taught(steps)
        self.reset()
        self._surfaces = taught

    def views(self) -> list[View]:
        """Return where the probe was at each frame, in order."""
        return self._views.views()

    def snapshot(self, complete: bool = True) -> MapSnapshot:
        """Extract the surface, and complete it where there is a prior that fits.

        Args:
            complete: Mesh the whole map at once, let a field look anew how far every frame sees,
                and a prior search all poses. Without it only what changed is done anew and a prior
                goes on from its last pose, which is meant for watching a scan: a field's mesh may
                lag a little behind (see `FieldRaster`), other maps give the same either way.
        """
        mesh = self._map.extract_mesh(complete=complete)
        mesh = without_small_parts(mesh, self.settings.min_part_mm2)
        completed = self._completed(mesh, complete)
        grid = self._map.grid
        full = grid.refused_blocks > 0 or (isinstance(self._map, FieldMap) and self._map.full)
        return MapSnapshot(
            mesh=mesh if completed is None else completed.mesh,
            frames=self._frames,
            frames_with_surface=self._frames_with_surface,
            observed_volume_mm3=grid.observed_voxels() * grid.spacing_mm**3,
            full=full,
            message=self._message(mesh, full),
            prior=completed,
        )

    def _completed(self, mesh: Mesh, thorough: bool) -> Completed | None:
        if self._completion is None:
            return None
        return self._completion.complete(
            mesh,
            self._map.empty_voxels(),
            self.settings.spacing_mm,
            thorough=thorough,
            min_part_mm2=self.settings.min_part_mm2,
        )

    def save(self, path: Path | str) -> None:
        """Write map and calibration to one file, whole or not at all (see `load`)."""
        record = MapRecord(
            settings=asdict(self.settings),
            frames=self._frames,
            frames_with_surface=self._frames_with_surface,
            grid=self._map.grid.arrays(),
            field=self._map.state() if isinstance(self._map, FieldMap) else None,
            learnt=self.learner.state() if self.learner and self.learner.labels else None,
            shares=self._surfaces.agreement.shares,
            T_world_labelled=self._slices.T_labelled,
            geometry=self._surfaces.detector.geometry,
            calibration=self._surfaces.detector.calibration,
            views=self._views,
        )
        write_map(record, Path(path))

    @classmethod
    def load(cls, path: Path | str, prior: str | None = None) -> "OccupancyMapper":
        """Return the mapper that `save` wrote; scanning goes on from there.

        Args:
            path: The file.
            prior: File of the prior to use, empty for none; the one the map was made with unless
                told.

        Raises:
            InputError: The file is not a map, of a version that cannot be read, or its prior is
                not there.
            ConfigError: Its settings are not valid.
        """
        record = read_map(Path(path))
        told = {} if prior is None else {"prior": prior}
        mapper = cls(from_mapping(MapperSettings, {**record.settings, **told}))
        mapper._map.grid.restore(record.grid)
        if isinstance(mapper._map, FieldMap) and record.field is not None:
            mapper._map.restore(record.field)
        mapper._surfaces.restore(record)
        mapper._frames, mapper._frames_with_surface = record.frames, record.frames_with_surface
        mapper._views = record.views
        for view in record.views.views()[-1:]:
            mapper._slices.T_last = view.T_world_transducer
        mapper._slices.T_labelled = record.T_world_labelled
        return mapper

    def _message(self, mesh: Mesh, full: bool) -> str:
        if full:
            return f"the map is full ({self.settings.max_memory_mb} MiB); raise max_memory_mb"
        if not mesh.is_empty:
            return ""
        if self._frames == 0:
            return "no frame yet"
        if self._frames_with_surface == 0 and self.settings.target == "organ":
            return f"none of {self._frames} frames has a label that shows the organ"
        if self._frames_with_surface == 0:
            return f"none of {self._frames} frames shows a surface"
        return "too little surface yet"
