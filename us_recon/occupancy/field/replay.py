"""The frames that a field is fitted to again and again, within a memory cap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from us_recon.geometry.rigid import transform_points
from us_recon.occupancy.field.scanlines import LineGeometry, Scanlines

Picks = Int64[np.ndarray, " n"]
Beams = Float32[np.ndarray, "n samples"]

_FIRST_CAPACITY = 32


@dataclass(frozen=True, eq=False)
class BeamPicks:
    """Some beams of some frames.

    Attributes:
        frame: Place of each beam's frame in the replay.
        beam: Its number there.
        origin_mm: Where it leaves the face, in the world.
        direction: Where to, unit length.
    """

    frame: Picks
    beam: Picks
    origin_mm: Float32[np.ndarray, "n 3"]
    direction: Float32[np.ndarray, "n 3"]

    def points_mm(self, depth_mm: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d 3"]:
        """Return the points at these depths along each beam, in the world."""
        return self.origin_mm[:, None] + depth_mm[..., None] * self.direction[:, None]


class Replay:
    """Frames of one geometry in one array, which grows to a cap and is then thinned out.

    When there is no room, every second unlabelled frame goes, and from then on only every second
    one is kept (then every fourth, and so on): what is kept stays spread over all of the scan. The
    newest frame is always there.

    Attributes:
        count: Frames held.
        arrived: Frames that ever arrived.
        stride: Every how many unlabelled frames one is kept.
    """

    def __init__(self, lines: LineGeometry, memory_mb: float, regions: bool = False) -> None:
        """Begin with no frame.

        Args:
            lines: Where the scanlines lie.
            memory_mb: The cap.
            regions: Whether labels tell at each sample where a target is that sound passes.
        """
        self.lines = lines
        beams, samples = lines.geometry.beam_count, len(lines.depths_mm)
        per_beam = np.float32, (beams,)
        self._type = np.dtype(
            [
                ("grey", np.uint8, (beams, samples)),
                ("floor", np.float32),
                ("tissue", np.float32),
                ("gain", np.float32, (samples,)),
                ("T_world_transducer", np.float64, (4, 4)),
                ("depth_mm", *per_beam),
                ("confidence", *per_beam),
                ("contact", np.bool_, (beams,)),
                ("labelled", np.bool_),
                ("half_thickness_mm", np.float32),
                ("number", np.int64),
                ("reach", np.int16, (beams,)),
            ]
            + regions * [("outside_mm", np.float16, (beams, samples))]
        )
        self.max_frames = max(int(memory_mb * 2**20 / self._type.itemsize), 4)
        self._frames = np.zeros(0, self._type)
        self.count, self.arrived, self.stride = 0, 0, 1
        flat = np.zeros((beams, 1))
        self._origins_mm = np.hstack([lines.geometry.beam_origins_mm, flat])
        self._directions = np.hstack([lines.geometry.beam_directions, flat])

    def __getitem__(self, name: str) -> Any:
        """Return one property of all frames held, an array that may be written to."""
        return self._frames[name][: self.count]

    def add(self, lines: Scanlines, half_thickness_mm: float) -> None:
        """Append a frame; the one before goes if it was kept for being the newest alone.

        Args:
            lines: The frame.
            half_thickness_mm: How far it speaks for what lies off its plane.
        """
        if self.count and not self._kept()[-1]:
            self.count -= 1
        if self.count == self.max_frames:
            self._thin_out()
        if self.count == len(self._frames):
            more = np.zeros(min(max(2 * self.count, _FIRST_CAPACITY), self.max_frames), self._type)
            more[: self.count] = self._frames[: self.count]
            self._frames = more
        new = self._frames[self.count]
        for name, value in vars(lines).items():
            if value is not None:
                new[name] = value
        new["half_thickness_mm"] = half_thickness_mm
        new["number"], new["reach"] = self.arrived, 0
        self.count += 1
        self.arrived += 1

    def pick(self, frame: Picks, chance: Float32[np.ndarray, " n"]) -> BeamPicks:
        """Pick one beam with contact of each frame; frames without any are left out.

        Args:
            frame: Places of frames.
            chance: 0 to 1, which beam; below 1.
        """
        contact = self["contact"][frame]
        usable = contact.sum(axis=1)
        order = np.argsort(~contact, axis=1, kind="stable")
        beam = order[np.arange(len(frame)), (chance * usable).astype(np.int64)]
        return self.beams(frame[usable > 0], beam[usable > 0])

    def beams(self, frame: Picks, beam: Picks) -> BeamPicks:
        """Return these beams of these frames."""
        T = self["T_world_transducer"][frame]
        origin = np.einsum("nij,nj->ni", T[:, :3, :3], self._origins_mm[beam]) + T[:, :3, 3]
        direction = np.einsum("nij,nj->ni", T[:, :3, :3], self._directions[beam])
        return BeamPicks(frame, beam, origin.astype(np.float32), direction.astype(np.float32))

    def brightness(self, picks: BeamPicks) -> Beams:
        """Return the picked beams' brightness above the floor in units of tissue."""
        grey = self["grey"][picks.frame, picks.beam].astype(np.float32)
        floor, tissue = self["floor"][picks.frame], self["tissue"][picks.frame]
        return np.maximum((grey - floor[:, None]) / tissue[:, None], 0)

    def newest_points_mm(self, margin_mm: float) -> Float32[np.ndarray, "n 3"]:
        """Return points that cover the newest frame's slab and a margin on either side."""
        T = self["T_world_transducer"][-1]
        half_mm = float(self["half_thickness_mm"][-1]) + margin_mm
        line = self.lines
        plane = line.geometry.beam_points_mm[:, line.first :][::2, ::2].reshape(-1, 2)
        offsets = np.array([-half_mm, 0.0, half_mm])
        points = [np.hstack([plane, np.full((len(plane), 1), offset)]) for offset in offsets]
        return transform_points(T, np.concatenate(points)).astype(np.float32)

    def array(self) -> Any:
        """Return a copy of everything."""
        return self._frames[: self.count].copy()

    def restore(self, columns: Mapping[str, Any], arrived: int, stride: int) -> None:
        """Replace the content by the properties of the frames that `array` returned."""
        self.count, self.arrived, self.stride = len(columns["number"]), arrived, stride
        self._frames = np.zeros(self.count, self._type)
        for name, column in columns.items():
            self._frames[name] = column

    def _kept(self) -> Bool[np.ndarray, " frames"]:
        return self["labelled"] | (self["number"] % self.stride == 0)

    def _thin_out(self) -> None:
        self.stride *= 2
        kept = self._kept()
        if kept.all():  # all of them labelled: every second one has to go all the same
            kept[1::2] = False
        self.count = int(kept.sum())
        self._frames[: self.count] = self._frames[: len(kept)][kept]
