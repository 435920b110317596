"""Which voxels sound has reached: there the field knows what it says."""

import numpy as np
from jaxtyping import Float32, Int16, Int32, Int64

from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.interpolation import vertex_number
from us_recon.occupancy.field.lattice import FeatureLattice
from us_recon.occupancy.field.loops import compiled_loop
from us_recon.occupancy.field.replay import BeamPicks, Replay

_REACHED = 0.3  # transmission: down to here a beam sees what is empty
_WALL_MM = 2.0  # how much further it counts as seen, so that a surface has two sides
_CONTRAST = 0.075  # of tissue above clutter: where there is less, a beam sees nothing
_BEAMS_APART = 2
_SAMPLES_AT_ONCE = 1 << 16

_UNITS = 32  # of a direction: sums stay whole numbers

Counts = Int32[np.ndarray, "2 vertices"]
Beams = Int32[np.ndarray, "4 coarse"]
Reach = Int16[np.ndarray, " n"]


class SeenVoxels:
    """Count at the vertices of a lattice how many samples of beams come there, and from where.

    One count is of samples that sound reaches, one of those and some more behind. Counts are whole
    numbers and every beam's share is known: a beam that comes to see less takes its share back.
    Directions change slowly from place to place: a coarser lattice holds their sums.

    Attributes:
        counts: The two counts of all vertices in storage.
        beams: Of the coarser lattice, the second count and the sum of its beams' directions.
    """

    def __init__(
        self, lattice: FeatureLattice, coarse: FeatureLattice, min_depth_mm: float
    ) -> None:
        self.lattice, self.coarse = lattice, coarse
        self.min_depth_mm = min_depth_mm
        self.counts: Counts = np.zeros((2, 0), np.int32)
        self.beams: Beams = np.zeros((4, 0), np.int32)

    def grow(self) -> None:
        """Follow the lattices' storage."""
        self.counts = _grown(self.counts, self.lattice)
        self.beams = _grown(self.beams, self.coarse)

    def restore(self, counts: Counts, beams: Beams | None, replay: Replay | None) -> None:
        """Go on from what was counted before; lattices and frames are there already.

        Map files before version 4 hold no directions: then the frames that are kept tell them.
        """
        self.grow()
        vertices = min(counts.shape[1], self.counts.shape[1])
        self.counts[:, :vertices] = counts[:, :vertices]
        if beams is not None:
            vertices = min(beams.shape[1], self.beams.shape[1])
            self.beams[:, :vertices] = beams[:, :vertices]
        elif replay is not None:
            frame, beam = np.nonzero(replay["reach"] > 0)
            reach = replay["reach"][frame, beam]
            self._turn(replay, replay.beams(frame, beam), np.zeros_like(reach), reach)

    def update(
        self, fit: FieldFit, replay: Replay, picks: BeamPicks,
        transmission: Float32[np.ndarray, "n samples"],
    ) -> None:  # fmt: skip
        """Let some beams see as far as the field now says."""
        now = self._reach(fit, replay, picks, transmission)
        held = replay["reach"]
        # A beam that was picked twice may be taken back only once.
        _, first = np.unique(picks.frame * held.shape[1] + picks.beam, return_index=True)
        once = BeamPicks(*(part[first] for part in vars(picks).values()))
        before = held[once.frame, once.beam]
        held[once.frame, once.beam] = now[first]
        self._move(self.counts, replay, once, before, now[first])
        self._turn(replay, once, before, now[first])

    def fresh(self, fit: FieldFit, replay: Replay) -> Counts:
        """Return the counts as they are when every second beam of all frames is looked at anew."""
        counts = self.counts.copy()
        frame, beam = np.nonzero(replay["contact"][:, ::_BEAMS_APART])
        at_once = max(_SAMPLES_AT_ONCE // len(replay.lines.depths_mm), 1)
        for first in range(0, len(frame), at_once):
            part = slice(first, first + at_once)
            picks = replay.beams(frame[part], beam[part] * _BEAMS_APART)
            now = self._reach(fit, replay, picks, fit.transmission(replay, picks))
            before = replay["reach"][picks.frame, picks.beam]
            self._move(counts, replay, picks, before, now)
        return counts

    def views(
        self, counts: Counts, replay: Replay, points_mm: Float32[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, "2 n"]:
        """Return about how many frames saw empty space, or anything, at the vertex nearest."""
        lattice = self.lattice
        found = np.empty((2, len(points_mm)), np.float32)
        share = np.float32(1 / _counts_per_view(replay, lattice.spacing_mm))
        _take(points_mm, lattice.spacing_mm, lattice.low, lattice.directory, counts, share, found)
        return found

    def directions(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
        """Return the mean direction of the beams that come to the vertices around each point.

        Its length is at most 1, and less where they cross; 0 where none comes.
        """
        lattice = self.coarse
        found = np.empty((len(points_mm), 3), np.float32)
        _mean_direction(
            points_mm, lattice.spacing_mm, lattice.low, lattice.directory, self.beams, found
        )
        return found

    def _reach(
        self, fit: FieldFit, replay: Replay, picks: BeamPicks,
        transmission: Float32[np.ndarray, "n samples"],
    ) -> Reach:  # fmt: skip
        """Return how many samples of each beam are seen."""
        samples = transmission.shape[1]
        clear = replay["gain"][picks.frame] - fit.clutter > _CONTRAST
        last = np.where(clear.any(axis=1), samples - clear[:, ::-1].argmax(axis=1), 0)
        reach = np.minimum((transmission > _REACHED).sum(axis=1), last)
        # Whoever drew a label has seen down to it.
        depth_mm = replay["depth_mm"][picks.frame, picks.beam]
        marked = replay["labelled"][picks.frame] & np.isfinite(depth_mm)
        to_label = np.searchsorted(replay.lines.depths_mm, np.nan_to_num(depth_mm))
        reach = np.where(marked, np.maximum(reach, to_label), reach)
        return np.maximum(reach - self._skipped(replay), 0).astype(np.int16)

    def _skipped(self, replay: Replay) -> int:
        return int(np.searchsorted(replay.lines.depths_mm, self.min_depth_mm))

    def _move(
        self, counts: Counts, replay: Replay, picks: BeamPicks, before: Reach, now: Reach
    ) -> None:
        """Let beams that reached `before` samples reach `now`."""
        for part, more in zip(counts[:, None], (0, self._wall(replay)), strict=True):
            self._add(part, self.lattice, replay, picks, _further(before, more),
                        _further(now, more))  # fmt: skip

    def _turn(self, replay: Replay, picks: BeamPicks, before: Reach, now: Reach) -> None:
        """Let the directions of such beams count as far as they now reach."""
        wall = self._wall(replay)
        self._add(self.beams, self.coarse, replay, picks, _further(before, wall),
                    _further(now, wall))  # fmt: skip

    def _add(
        self, rows: Int32[np.ndarray, "rows vertices"], lattice: FeatureLattice, replay: Replay,
        picks: BeamPicks, before: Reach, now: Reach,
    ) -> None:  # fmt: skip
        lines = replay.lines
        normals = replay["T_world_transducer"][picks.frame, :3, 2].astype(np.float32)
        first_mm = float(lines.depths_mm[min(self._skipped(replay), len(lines.depths_mm) - 1)])
        _count(
            picks.origin_mm, picks.direction, normals,
            replay["half_thickness_mm"][picks.frame], first_mm, lines.step_mm, before, now,
            lattice.spacing_mm, lattice.low, lattice.directory, rows,
        )  # fmt: skip

    def _wall(self, replay: Replay) -> int:
        return round(_WALL_MM / replay.lines.step_mm)


def _grown(
    rows: Int32[np.ndarray, "rows vertices"], lattice: FeatureLattice
) -> Int32[np.ndarray, "rows more"]:
    more = len(lattice.values) - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, more))) if more > 0 else rows


def _further(reach: Reach, samples: int) -> Reach:
    """Return how far beams reach with some more samples; those that see nothing see none more."""
    return np.where(reach > 0, reach + np.int16(samples), 0).astype(np.int16)


def _counts_per_view(replay: Replay, spacing_mm: float) -> float:
    """Return how often one frame counts a vertex in the middle of its image."""
    lines = replay.lines
    middle = lines.geometry.beam_points_mm[:, lines.geometry.sample_count // 2]
    apart_mm = float(np.linalg.norm(np.diff(middle, axis=0), axis=1).mean())
    # Each sample counts at eight vertices, on sheets that are one spacing apart.
    return 8 * spacing_mm**2 / (apart_mm * lines.step_mm)


@compiled_loop
def _count(
    origins_mm: Float32[np.ndarray, "n 3"],
    directions: Float32[np.ndarray, "n 3"],
    normals: Float32[np.ndarray, "n 3"],
    half_thickness_mm: Float32[np.ndarray, " n"],
    first_mm: float,
    step_mm: float,
    before: Int16[np.ndarray, " n"],
    now: Int16[np.ndarray, " n"],
    spacing_mm: float,
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    counts: Int32[np.ndarray, "rows vertices"],
) -> None:
    """Add or take the difference between two reaches at the vertices around each sample.

    A beam speaks for a slab of its frame's thickness: it counts on several parallel sheets. Where
    there are four rows, the last three take its direction.
    """
    toward = np.zeros(3, np.int32)
    for n in range(len(before)):
        change = 1 if now[n] > before[n] else -1
        for axis in range(3):
            toward[axis] = change * np.int32(np.rint(_UNITS * directions[n, axis]))
        half_mm = half_thickness_mm[n]
        sheets = max(1, int(np.round(2 * half_mm / spacing_mm)))
        for sample in range(min(before[n], now[n]), max(before[n], now[n])):
            along_mm = first_mm + sample * step_mm
            for sheet in range(sheets):
                off_mm = ((sheet + 0.5) / sheets * 2 - 1) * half_mm
                x = origins_mm[n, 0] + along_mm * directions[n, 0] + off_mm * normals[n, 0]
                y = origins_mm[n, 1] + along_mm * directions[n, 1] + off_mm * normals[n, 1]
                z = origins_mm[n, 2] + along_mm * directions[n, 2] + off_mm * normals[n, 2]
                i = int(np.floor(x / spacing_mm))
                j = int(np.floor(y / spacing_mm))
                k = int(np.floor(z / spacing_mm))
                for c in range(8):
                    a, b, d = i + (c >> 2), j + ((c >> 1) & 1), k + (c & 1)
                    vertex = vertex_number(a, b, d, low, directory)
                    if vertex >= 0:
                        counts[0, vertex] += change
                        for row in range(1, len(counts)):
                            counts[row, vertex] += toward[row - 1]


@compiled_loop
def _take(
    points_mm: Float32[np.ndarray, "n 3"],
    spacing_mm: float,
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    counts: Int32[np.ndarray, "2 vertices"],
    share: float,
    found: Float32[np.ndarray, "2 n"],
) -> None:
    """Write both counts at the vertex nearest to each point, times `share`."""
    per_mm = np.float32(1.0 / spacing_mm)
    for n in range(len(points_mm)):
        i = int(np.rint(points_mm[n, 0] * per_mm))
        j = int(np.rint(points_mm[n, 1] * per_mm))
        k = int(np.rint(points_mm[n, 2] * per_mm))
        vertex = vertex_number(i, j, k, low, directory)
        found[0, n] = counts[0, vertex] * share if vertex >= 0 else 0.0
        found[1, n] = counts[1, vertex] * share if vertex >= 0 else 0.0


@compiled_loop
def _mean_direction(
    points_mm: Float32[np.ndarray, "n 3"],
    spacing_mm: float,
    low: Int64[np.ndarray, "3"],
    directory: Int32[np.ndarray, "x y z"],
    beams: Int32[np.ndarray, "4 coarse"],
    found: Float32[np.ndarray, "n 3"],
) -> None:
    """Write the mean over all samples counted at the eight vertices around each point."""
    for n in range(len(points_mm)):
        i = int(np.floor(points_mm[n, 0] / spacing_mm))
        j = int(np.floor(points_mm[n, 1] / spacing_mm))
        k = int(np.floor(points_mm[n, 2] / spacing_mm))
        x, y, z, count = 0, 0, 0, 0
        for c in range(8):
            vertex = vertex_number(i + (c >> 2), j + ((c >> 1) & 1), k + (c & 1), low, directory)
            if vertex >= 0:
                count += beams[0, vertex]
                x += beams[1, vertex]
                y += beams[2, vertex]
                z += beams[3, vertex]
        unit = np.float32(1.0 / (_UNITS * max(count, 1)))
        found[n, 0], found[n, 1], found[n, 2] = x * unit, y * unit, z * unit
