"""The frames that are registered together: few, and taken from different poses."""

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import transform_points
from us_recon.imaging.frame import TrackedFrame


class KeyframeWindow:
    """Keep up to `capacity` frames of one probe geometry whose images lie apart.

    Where the window is full, the frame goes that has the nearest neighbours, so that it stays wide.
    A frame near an outdated one takes its place, so that it stays fresh.
    """

    def __init__(self, capacity: int, distance_mm: float, outdated_after: int) -> None:
        """Start empty.

        Args:
            capacity: Most frames kept.
            distance_mm: Mean distance between two images above which they count as different.
            outdated_after: Frames taken since, after which a kept frame may be replaced.
        """
        self.frames: list[TrackedFrame] = []
        """The frames, in the order in which they were taken."""
        self._arrivals: list[int] = []
        self._taken = 0
        self._capacity, self._distance_mm = capacity, distance_mm
        self._outdated_after = outdated_after

    def add(self, frame: TrackedFrame) -> bool:
        """Take a frame; return whether it is kept.

        A frame of another probe geometry empties the window first.
        """
        if self.frames and frame.geometry != self.frames[-1].geometry:
            self.clear()
        self._taken += 1
        near = [
            number
            for number, kept in enumerate(self.frames)
            if image_distance_mm(kept, frame) < self._distance_mm
        ]
        if any(self._taken - self._arrivals[number] <= self._outdated_after for number in near):
            return False
        for number in reversed(near):
            self._drop(number)
        self.frames.append(frame)
        self._arrivals.append(self._taken)
        if len(self.frames) > self._capacity:
            self._drop(self._most_redundant())
        return True

    def clear(self) -> None:
        """Forget all frames."""
        self.frames.clear()
        self._arrivals.clear()

    def _drop(self, number: int) -> None:
        del self.frames[number], self._arrivals[number]

    def _most_redundant(self) -> int:
        """Return the older frame that is nearest to its two nearest neighbours.

        Two, not one: in an even row it is then never the frame at the end that goes.
        """
        corners = np.stack([sector_corners_mm(frame) for frame in self.frames])
        apart = np.linalg.norm(corners[:, None] - corners[None], axis=-1).mean(axis=-1)
        to_two_nearest = np.sort(apart, axis=1)[:, 1:3].sum(axis=1)
        return int(np.argmin(to_two_nearest[:-1]))


def image_distance_mm(first: TrackedFrame, second: TrackedFrame) -> float:
    """Return the mean distance between the corners of two frames' sectors, mm."""
    apart = sector_corners_mm(first) - sector_corners_mm(second)
    return float(np.linalg.norm(apart, axis=1).mean())


def sector_corners_mm(frame: TrackedFrame) -> Float64[np.ndarray, "4 3"]:
    """Return the corners of a frame's imaged sector in the world, mm."""
    corners = frame.geometry.beam_points_mm[[0, 0, -1, -1], [0, -1, 0, -1]]
    return transform_points(frame.T_world_transducer, np.pad(corners, ((0, 0), (0, 1))))
