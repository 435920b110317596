"""Where the probe was: what a map was made from, to tell later what could be seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from us_recon.imaging.probe import ProbeGeometry


@dataclass(frozen=True, eq=False)
class View:
    """One image of a sweep: where the probe was and what it looked like."""

    T_world_transducer: Float64[np.ndarray, "4 4"]
    geometry: ProbeGeometry


class ViewLog:
    """The views of a sweep, a few hundred bytes each."""

    def __init__(self) -> None:
        self.geometries: list[ProbeGeometry] = []
        self._poses: list[Float64[np.ndarray, "4 4"]] = []
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, T_world_transducer: Float64[np.ndarray, "4 4"], geometry: ProbeGeometry) -> None:
        """Append a view."""
        if not self.geometries or self.geometries[-1] != geometry:
            self.geometries.append(geometry)
        self._poses.append(T_world_transducer)
        self._numbers.append(len(self.geometries) - 1)

    def views(self) -> list[View]:
        """Return all views in order."""
        pairs = zip(self._poses, self._numbers, strict=True)
        return [View(T, self.geometries[number]) for T, number in pairs]

    def arrays(self) -> tuple[Float64[np.ndarray, "n 4 4"], Int64[np.ndarray, " n"]]:
        """Return the poses and the number of each one's geometry."""
        return np.array(self._poses).reshape(-1, 4, 4), np.array(self._numbers, np.int64)

    @classmethod
    def of(
        cls,
        poses: Float64[np.ndarray, "n 4 4"],
        numbers: Int64[np.ndarray, " n"],
        geometries: Sequence[ProbeGeometry],
    ) -> "ViewLog":
        """Return the log that has these arrays."""
        log = cls()
        log.geometries = list(geometries)
        log._poses = list(poses)
        log._numbers = numbers.tolist()
        return log
