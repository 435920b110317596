"""The pose of a patient at rest, refined as more of him is seen.

A registration is trusted as soon as the frames allow, often with a few. What is scanned after that
tells more, and while the patient has not moved it tells it of the same pose.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import invert_rigid
from us_recon.registration.confidence import covariance
from us_recon.registration.objective import Objective
from us_recon.registration.observation import BeamWindow
from us_recon.registration.peaks import Twist, mean_pose, near_peaks
from us_recon.registration.solver import Refinement, refine, turn_about_centre
from us_recon.registration.tracking_filter import Belief, difference

_STEPS = 2
"""Of a refinement at a time: the newest frames are followed in between."""
_LEAST_GAIN = 1e-6
"""In score: a refinement that gains less has ended."""


class Settling:
    """One refinement on all keyframes, from the registered pose, a few steps at a time.

    Where the score had several peaks near it, each is climbed again, and their mean is the result.
    """

    def __init__(
        self,
        objective: Objective,
        window: BeamWindow,
        T_world_mri: Float64[np.ndarray, "4 4"],
        peaks: Sequence[Twist] = (),
        reach_mm: float = np.inf,
    ) -> None:
        """Begin.

        Args:
            objective: All of the keyframes' patches.
            window: The keyframes.
            T_world_mri: The pose as registered.
            peaks: Where the score's peaks lay from there (twists, mm and rad); none: one, there.
            reach_mm: Peaks that end further than this from the highest one are left out.
        """
        self.window = window
        self._objective, self._reach_mm = objective, reach_mm
        self._start = start = invert_rigid(T_world_mri)
        centre = objective.centre_world_mm
        self._to_climb = [turn_about_centre(centre, start, twist) for twist in peaks] or [start]
        self._climbed: list[Refinement] = []
        self._climbing: Refinement | None = None
        self._found: Refinement | None = None

    def advance(self) -> bool:
        """Take some steps; return whether the refinement has ended."""
        before = self._climbing
        T = self._to_climb[0] if before is None else before.T_mri_world
        here = self._climbing = refine(self._objective, T, _STEPS)
        gain = np.inf if before is None else here.score - before.score
        if not (here.converged or gain < _LEAST_GAIN):
            return False
        self._climbed.append(here)
        self._to_climb, self._climbing = self._to_climb[1:], None
        if self._to_climb:
            return False
        centre = self._objective.centre_world_mm
        near = near_peaks(self._climbed, centre, self._reach_mm)
        self._found = near[0]
        if len(near) > 1:
            self._found = refine(self._objective, mean_pose(near, centre), max_iterations=0)
        return True

    def belief(self, stamp_ns: int) -> Belief:
        """Return the pose that was found and what is known of it."""
        assert self._found is not None
        spread = covariance(self._found.curvature)
        return Belief(self._found.T_mri_world, spread, self._objective.centre_world_mm, stamp_ns)

    @property
    def moved_mm(self) -> float:
        """How far the refined pose has moved the images' centre."""
        assert self._found is not None
        moved_mm, _ = difference(
            invert_rigid(self._found.T_mri_world),
            invert_rigid(self._start),
            self._objective.centre_world_mm,
        )
        return moved_mm
