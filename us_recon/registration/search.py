"""Search of a region around an initial pose: many poses scored coarsely, the best ones refined.

Poses are scored and refined first where the score is wide (large patches, much blur), but ranked
only where it is sharp: the coarse order misleads. Rounds of further poses are added until one
answer leads clearly or the budget is spent, which is counted in poses, never in time.

LC2 seeks; where the tissue's backscatter joins it, both decide between what was found. With it the
score has more and narrower peaks: on a real patient's T1 a search by all channels missed the right
one from 2 of 22 development starts, this one from none of 40. Simulated brains do not tell them
apart.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

from us_recon.geometry.rigid import transform_points
from us_recon.registration.levels import Levels
from us_recon.registration.objective import Objective
from us_recon.registration.peaks import SAME_MM, mean_pose, near_peaks
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import Refinement, refine

Item = TypeVar("Item")

_SAME_MM = 1.0
_CHUNK = 128
_AT_ONCE = 8
"""How many chunks of poses, or refinements, are handed to the threads at a time."""
_COARSE_STEPS, _FIRST_STEPS, _SECOND_STEPS, _APART_STEPS = 8, 4, 8, 8
_SECOND_PER_MODE = 3
_LEAST_ELSEWHERE = 2
_NEARBY, _NEARBY_MM, _NEARBY_DEG, _NEARBY_STEPS, _NEARBY_ROUNDS = 16, 2.0, 2.0, 6, 2
"""Poses around the best peaks that are refined too: more of them may lie nearer than two answers
may be apart. Those of the second round lie around the mean of all that the first has found."""
_STEP_COST = 4
"""What a step of a refinement costs, in scored poses."""


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
            first_only: Score this many poses in one round instead of what the settings ask, and
                look for no peaks beside the best: enough to learn what score chance reaches.
        """
        self.modes: list[Refinement] = []
        """The best different poses so far, best first; refined on the whole window."""
        self.peaks: list[Refinement] = []
        """The modes, and all peaks beside the best one; empty before the end."""
        self.rounds = 0
        """Rounds that are finished."""
        self.done = False
        self._runners_up: list[tuple[Float64[np.ndarray, "4 4"], float]] = []
        self._levels, self._settings = levels, settings
        self._finest = levels.fine
        self._start = T_mri_world
        self._count = settings.start_count if first_only is None else first_only
        self._share = self._count / max(settings.start_count, 1)
        self._max_rounds = settings.max_rounds if first_only is None else 1
        whole = self._count > 0 and first_only is None
        self._nearby_rounds = _NEARBY_ROUNDS if whole else 0
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
        with ThreadPoolExecutor(self._settings.threads) as pool:
            for number in range(self._max_rounds if self._count else 1):
                yield from self._round(number, pool)
                if self.gap >= self._settings.search_gap:
                    break
            self.peaks = list(self.modes)
            if self._nearby_rounds:
                yield from self._climb_nearby(0, pool)
            if self._levels.last is not self._finest:
                yield from self._decide(pool)
            for block in range(1, self._nearby_rounds):
                yield from self._climb_nearby(block, pool)

    def _round(self, number: int, pool: ThreadPoolExecutor) -> Iterator[int]:
        levels, settings = self._levels, self._settings
        starts = self._starts(number)
        scores = yield from _scored(pool, levels.coarse, starts)
        order = np.argsort(-scores, kind="stable")[: self._scaled(settings.refine_count)]
        poses = [starts[index] for index in order]
        also = [self._start] if number == 0 else []
        hopeful = yield from _refined(pool, levels.coarse, [*also, *poses], _COARSE_STEPS)
        hopeful.sort(key=lambda one: -one.score)
        found = self._different(hopeful, self._scaled(settings.candidate_count))
        found = yield from _refined(pool, levels.thin, [*_poses(found), *also], _FIRST_STEPS)
        found = self._modes(found, _SECOND_PER_MODE * settings.mode_count)
        found = yield from _refined(pool, levels.thin, _poses(found), _SECOND_STEPS)
        found = self._modes(found, settings.mode_count)
        # To the end: a pose on its way home would pass for another answer.
        found = yield from self._to_the_end(pool, _poses(found))
        self.modes = self._modes([*self.modes, *found], settings.mode_count)
        missed = [*self._keep_runners_up(_poses(hopeful)), *self._keep_runners_up(poses)]
        found = yield from self._to_the_end(pool, missed)
        self.modes = self._modes([*self.modes, *found], settings.mode_count)
        self.rounds = number + 1

    def _climb_nearby(self, block: int, pool: ThreadPoolExecutor) -> Iterator[int]:
        """Look for more peaks beside the best one: fewer patches blur them into one."""
        levels, settings = self._levels, self._settings
        centre = self._finest.centre_world_mm
        near = near_peaks(self.peaks, centre, settings.mode_distance_mm)
        twists = start_twists(_NEARBY, _NEARBY_MM, np.radians(_NEARBY_DEG), block)
        around = moved_about(centre, mean_pose(near, centre), twists)
        found = yield from _refined(pool, levels.thin, list(around), _NEARBY_STEPS)
        found = self._different(found, len(found), SAME_MM)
        found = yield from self._to_the_end(pool, _poses(found))
        self.peaks += found
        self.modes = self._modes([*self.modes, *found], settings.mode_count)

    def _decide(self, pool: ThreadPoolExecutor) -> Iterator[int]:
        """Refine what LC2 found by all channels; from here on these decide."""
        self._finest, settings = self._levels.last, self._settings
        near = near_peaks(self.peaks, self._finest.centre_world_mm, settings.mode_distance_mm)
        beside = [one for one in near if one not in self.modes][: settings.mode_count]
        poses = _poses([*self.modes, *beside])
        self.peaks = yield from _refined(pool, self._finest, poses, settings.max_iterations)
        self.modes = self._modes(self.peaks, settings.mode_count)
        others, self._runners_up = [T for T, _ in self._runners_up], []
        better = self._keep_runners_up(others, len(others))
        self.peaks += yield from _refined(pool, self._finest, better, settings.max_iterations)
        self.modes = self._modes(self.peaks, settings.mode_count)

    def _to_the_end(
        self, pool: ThreadPoolExecutor, poses: Sequence[Float64[np.ndarray, "4 4"]]
    ) -> Generator[int, None, list[Refinement]]:
        """Refine poses on the whole window; patches that do not overlap bring them near for less.

        Return where they ended.
        """
        near = yield from _refined(pool, self._levels.apart, poses, _APART_STEPS)
        steps = self._settings.max_iterations
        return (yield from _refined(pool, self._finest, _poses(near), steps))

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

    def _keep_runners_up(
        self, poses: Sequence[Float64[np.ndarray, "4 4"]], count: int = _LEAST_ELSEWHERE
    ) -> list[Float64[np.ndarray, "4 4"]]:
        """Score the first few poses that lie elsewhere: refined ones may all have come home.

        Returns those that beat the best: the few patches by which they were ranked have misled.
        """
        best = self.best
        few = [T for T in poses if self._is_elsewhere(T, best.T_mri_world)][:count]
        scored = list(zip(few, self._finest.scores(few).tolist(), strict=True))
        self._runners_up += scored
        return [T for T, score in scored if score > best.score]

    def _different(
        self, found: Sequence[Refinement], count: int, same_mm: float = _SAME_MM
    ) -> list[Refinement]:
        """Return the best that differ: those on their way to the same place count once."""
        kept: list[Refinement] = []
        for one in sorted(found, key=lambda refinement: -refinement.score):
            if all(
                self._levels.apart_mm(one.T_mri_world, other.T_mri_world) > same_mm
                for other in kept
            ):
                kept.append(one)
            if len(kept) == count:
                break
        return kept


def _scored(
    pool: ThreadPoolExecutor, objective: Objective, poses: Float64[np.ndarray, "n 4 4"]
) -> Generator[int, None, Float64[np.ndarray, " n"]]:
    """Score poses; yield the cost of each few, return the scores."""
    chunks = [poses[first : first + _CHUNK] for first in range(0, len(poses), _CHUNK)]
    found: list[Float64[np.ndarray, " m"]] = []
    for few in batched(chunks, _AT_ONCE):
        found += pool.map(objective.scores, few)
        yield sum(map(len, few))
    return np.concatenate(found) if found else np.zeros(0)


def _refined(
    pool: ThreadPoolExecutor,
    objective: Objective,
    poses: Sequence[Float64[np.ndarray, "4 4"]],
    steps: int,
) -> Generator[int, None, list[Refinement]]:
    """Refine poses; yield the cost of each few, return where they ended."""
    found: list[Refinement] = []
    for few in batched(poses, _AT_ONCE):
        found += pool.map(lambda T: refine(objective, T, steps), few)
        yield _STEP_COST * sum(max(one.iterations, 1) for one in found[-len(few) :])
    return found


def batched(items: Sequence[Item], count: int) -> Iterator[Sequence[Item]]:
    """Yield so many items at a time; the last few may be less."""
    for first in range(0, len(items), count):
        yield items[first : first + count]


def _poses(found: Iterable[Refinement]) -> list[Float64[np.ndarray, "4 4"]]:
    return [one.T_mri_world for one in found]


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
