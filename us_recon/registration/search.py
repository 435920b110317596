"""Search of a region around an initial pose: many poses scored coarsely, the best ones refined.

Poses are scored and refined first where the score is wide (large patches, much blur), but ranked
only where it is sharp: the coarse order misleads. Rounds of further poses are added until one
answer leads clearly or the budget is spent, which is counted in poses, never in time.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

from us_recon.geometry.rigid import transform_points
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import Refinement, refine

_SAME_MM = 1.0
_CHUNK = 256
_COARSE_STEPS, _FIRST_STEPS, _SECOND_STEPS, _LAST_STEPS = 8, 4, 8, 8
_SECOND_PER_MODE = 3
_LEAST_ELSEWHERE = 2
_STEP_COST = 4
"""What a step of a refinement costs, in scored poses."""


@dataclass(frozen=True, eq=False)
class Levels:
    """One window and one MRI, to be compared with growing care.

    Attributes:
        coarse: Few large, blurred patches.
        thin: Few of the finest patches.
        fine: All of the finest patches, overlapping.
        corners_world_mm: Corners of the images, to tell poses apart.
    """

    coarse: Objective
    thin: Objective
    fine: Objective
    corners_world_mm: Float64[np.ndarray, "n 3"]

    def apart_mm(self, T: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]) -> float:
        """Return the mean distance between where two poses place the corners of the images."""
        corners = self.corners_world_mm
        moved = transform_points(T, corners) - transform_points(other, corners)
        return float(np.linalg.norm(moved, axis=1).mean())


def make_levels(
    window: BeamWindow,
    coarse_window: BeamWindow,
    channels: MriChannels,
    coarse_channels: MriChannels,
    settings: RegistrationSettings,
) -> Levels:
    """Prepare all levels; window and channels come with the settings, or with their coarse ones."""
    corners = window.points_world_mm[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
    return Levels(
        coarse=make_objective(
            coarse_window, coarse_channels, settings.coarse(), settings.coarse_patches
        ),
        thin=make_objective(window, channels, settings, settings.candidate_patches),
        fine=make_objective(window, channels, settings),
        corners_world_mm=corners.double().numpy(),
    )


def mirrored(window: BeamWindow) -> BeamWindow:
    """Return the window with the beams of every image in reverse order."""
    return replace(window, values=window.values.flip(1), valid=window.valid.flip(1))


class GlobalSearch:
    """A search that is advanced by a bounded amount of work at a time."""

    def __init__(
        self,
        levels: Levels,
        T_mri_world: Float64[np.ndarray, "4 4"],
        settings: RegistrationSettings,
        first_only: int | None = None,
    ) -> None:
        """Begin.

        Args:
            levels: What is climbed.
            T_mri_world: Rigid initial pose; it is always among those refined.
            settings: Region and counts.
            first_only: Score this many poses in one round instead of what the settings ask.
        """
        self.modes: list[Refinement] = []
        """The best different poses so far, best first; refined on the whole window."""
        self.rounds = 0
        """Rounds that are finished."""
        self.done = False
        self._runners_up: list[tuple[Float64[np.ndarray, "4 4"], float]] = []
        self._levels, self._settings = levels, settings
        self._start = T_mri_world
        self._count = settings.start_count if first_only is None else first_only
        self._share = self._count / max(settings.start_count, 1)
        self._max_rounds = settings.max_rounds if first_only is None else 1
        self._work = self._run()

    @property
    def best(self) -> Refinement:
        """The pose with the highest score; there is one once the search is done."""
        return self.modes[0]

    @property
    def gap(self) -> float:
        """Lead in score over the best pose that places the images elsewhere; NaN if none."""
        if self._count == 0:
            return float("nan")
        known = [(mode.T_mri_world, mode.score) for mode in self.modes[1:]]
        elsewhere = [
            score
            for T, score in [*known, *self._runners_up]
            if self._is_elsewhere(T, self.best.T_mri_world)
        ]
        return self.best.score - max(elsewhere, default=float("nan"))

    def advance(self, poses: int | None = None) -> bool:
        """Do work worth about this many scored poses, all of it if None; return whether done."""
        spent = 0
        while not self.done and (poses is None or spent < poses):
            cost = next(self._work, None)
            self.done = cost is None
            spent += cost or 0
        return self.done

    def _run(self) -> Iterator[int]:
        """Search; yield what was spent since the last time."""
        levels, settings = self._levels, self._settings
        for number in range(self._max_rounds if self._count else 1):
            starts = self._starts(number)
            scores = np.empty(len(starts))
            for first in range(0, len(starts), _CHUNK):
                chunk = slice(first, first + _CHUNK)
                scores[chunk] = levels.coarse.scores(starts[chunk])
                yield len(starts[chunk])
            order = np.argsort(-scores, kind="stable")[: self._scaled(settings.refine_count)]
            poses = [starts[index] for index in order]
            if number == 0:
                poses.insert(0, self._start)
            hopeful = yield from _refined(levels.coarse, poses, _COARSE_STEPS)
            hopeful.sort(key=lambda one: -one.score)
            found = self._different(hopeful, self._scaled(settings.candidate_count))
            poses = [one.T_mri_world for one in found]
            if number == 0:
                poses.append(self._start)
            found = yield from _refined(levels.thin, poses, _FIRST_STEPS)
            found = self._modes(found, _SECOND_PER_MODE * settings.mode_count)
            found = yield from _refined(
                levels.thin, [one.T_mri_world for one in found], _SECOND_STEPS
            )
            found = self._modes(found, settings.mode_count)
            found = yield from _refined(
                levels.fine, [one.T_mri_world for one in found], _LAST_STEPS
            )
            self.modes = self._modes([*self.modes, *found], settings.mode_count)
            self._keep_runners_up([one.T_mri_world for one in hopeful])
            self._keep_runners_up([starts[index] for index in order])
            self.rounds = number + 1
            if self.gap >= settings.search_gap:
                break

    def _scaled(self, count: int) -> int:
        return max(1, round(self._share * count))

    def _starts(self, number: int) -> Float64[np.ndarray, "n 4 4"]:
        settings = self._settings
        reach_rad = np.radians(settings.capture_deg)
        twists = start_twists(self._count, settings.capture_mm, reach_rad, number)
        return moved_about(self._levels.coarse.centre_world_mm, self._start, twists)

    def _modes(self, found: Sequence[Refinement], count: int) -> list[Refinement]:
        """Return the best that differ, and with them the best that lie elsewhere."""
        nearest = self._different(found, count)
        elsewhere = self._different(
            [one for one in found if self._is_elsewhere(one.T_mri_world, nearest[0].T_mri_world)],
            _LEAST_ELSEWHERE,
        )
        return [*nearest, *(one for one in elsewhere if one not in nearest)]

    def _is_elsewhere(
        self, T: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]
    ) -> bool:
        return self._levels.apart_mm(T, other) > self._settings.mode_distance_mm

    def _keep_runners_up(self, poses: Sequence[Float64[np.ndarray, "4 4"]]) -> None:
        """Score the first few poses that lie elsewhere: refined ones may all have come home."""
        best = self.best.T_mri_world
        few = [T for T in poses if self._is_elsewhere(T, best)][:_LEAST_ELSEWHERE]
        self._runners_up += zip(few, self._levels.fine.scores(few).tolist(), strict=True)

    def _different(self, found: Sequence[Refinement], count: int) -> list[Refinement]:
        """Return the best that differ: those on their way to the same place count once."""
        kept: list[Refinement] = []
        for one in sorted(found, key=lambda refinement: -refinement.score):
            if all(
                self._levels.apart_mm(one.T_mri_world, other.T_mri_world) > _SAME_MM
                for other in kept
            ):
                kept.append(one)
            if len(kept) == count:
                break
        return kept


def _refined(
    objective: Objective, poses: Sequence[Float64[np.ndarray, "4 4"]], steps: int
) -> Generator[int, None, list[Refinement]]:
    """Refine poses; yield the cost of each, return where they ended."""
    found = []
    for T in poses:
        found.append(refine(objective, T, steps))
        yield _STEP_COST * max(found[-1].iterations, 1)
    return found


def start_twists(
    count: int, reach_mm: float, reach_rad: float, block: int = 0
) -> Float64[np.ndarray, "count 6"]:
    """Return evenly spread translations (mm) and rotation vectors (rad) in balls.

    They follow a Sobol sequence; block n has the n-th so many of them.
    """
    if count == 0:
        return np.zeros((0, 6))
    wanted = count * (block + 1)
    # Both balls fill (pi / 6)^2 = 27 % of the cube.
    powers = int(np.ceil(np.log2(wanted / 0.2)))
    unit = 2.0 * qmc.Sobol(6, scramble=False).random_base2(powers) - 1.0
    inside = (np.linalg.norm(unit[:, :3], axis=1) <= 1) & (np.linalg.norm(unit[:, 3:], axis=1) <= 1)
    return unit[inside][count * block : wanted] * np.repeat([reach_mm, reach_rad], 3)


def moved_about(
    centre_world_mm: Float64[np.ndarray, "3"],
    T_mri_world: Float64[np.ndarray, "4 4"],
    twists: Float64[np.ndarray, "n 6"],
) -> Float64[np.ndarray, "n 4 4"]:
    """Return poses turned about the images' centre and then shifted, on MRI axes."""
    centre = transform_points(T_mri_world, centre_world_mm)
    moves = np.tile(np.eye(4), (len(twists), 1, 1))
    moves[:, :3, :3] = Rotation.from_rotvec(twists[:, 3:]).as_matrix().reshape(-1, 3, 3)
    moves[:, :3, 3] = centre + twists[:, :3] - moves[:, :3, :3] @ centre
    return np.asarray(moves @ T_mri_world)
