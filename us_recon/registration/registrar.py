"""The registration as nodes and offline runs use it: frames in, a judged transform out."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.errors import InputError
from us_recon.geometry.rigid import invert_rigid, is_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import make_channels, make_coarse_channels
from us_recon.registration.expected import expected_image
from us_recon.registration.gate import missing_before
from us_recon.registration.keyframes import KeyframeWindow
from us_recon.registration.levels import make_levels, mirrored
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import BeamWindow
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.peaks import Twist, mean_pose, near_peaks
from us_recon.registration.recent import RecentFrames
from us_recon.registration.sampled_frames import SampledFrames
from us_recon.registration.search import GlobalSearch
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.settling import Settling
from us_recon.registration.solver import Refinement, refine, twist_between
from us_recon.registration.tracking import PatientTracker, Tracked
from us_recon.registration.tracking_filter import Belief
from us_recon.registration.updates import (
    UNKNOWN,
    RegistrationUpdate,
    at_rest,
    blank,
    followed,
    judged,
)
from us_recon.settings import valid

__all__ = ["MriRegistration", "RegistrationUpdate"]


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A search under way: its frames, and the search with their images as they are and mirrored.

    Where no pose but the first guess is tried there is nothing to weigh, and none is mirrored.
    """

    window: BeamWindow
    stamp_ns: int
    objective: Objective
    search: GlobalSearch
    chance: GlobalSearch | None


class MriRegistration:
    """Register one MRI to a stream of tracked frames.

    Work is counted in frames and steps, never in time: the same frames and steps give the same
    result, live or replayed. An attempt searches around the initial guess, in one step or in many;
    once a result is trusted, further steps follow the patient with the newest
    frames, refine his pose on all that was seen while he rests, and one that goes bad is withdrawn
    and searched anew with the frames from then on.
    """

    def __init__(
        self, images: Volume | PatientImages, settings: RegistrationSettings | None = None
    ) -> None:
        """Prepare the MRI.

        Args:
            images: One MRI, or all that is known of the patient; RAS+ millimetres.
            settings: How it is registered.

        Raises:
            InputError: A volume holds no image.
            ConfigError: Settings out of range.
        """
        self.settings = valid(settings or RegistrationSettings())
        self.channels = make_channels(images, self.settings)
        _ = self.channels.lc2  # copied now, and not while an attempt begins
        self._coarse_channels = make_coarse_channels(images, self.settings)
        self.window = KeyframeWindow(
            self.settings.window_frames,
            self.settings.keyframe_distance_mm,
            self.settings.keyframe_life,
        )
        self._sampled = SampledFrames(self.settings)
        self._coarsely_sampled = SampledFrames(self.settings.coarse())
        self.T_world_mri: Float64[np.ndarray, "4 4"] | None = None
        """The pose trusted last, else the initial guess; None where neither is known."""
        self._initial: Float64[np.ndarray, "4 4"] | None = None
        self._update: RegistrationUpdate | None = None
        self._attempt: _Attempt | None = None
        self._gap = UNKNOWN
        self._peaks: list[Twist] = []
        self._new_keyframes = 0
        self._recent = RecentFrames(self.settings)
        self._seen_new = False
        self._tracker: PatientTracker | None = None
        self._settling: Settling | None = None

    def set_initial(self, T_world_mri: Float64[np.ndarray, "4 4"]) -> None:
        """Give a first guess, or a new one: what was found before is forgotten.

        Raises:
            InputError: The transform is not rigid.
        """
        if not is_rigid(T_world_mri):
            raise InputError(
                f"initial T_world_mri is {T_world_mri.tolist()}; expected a rigid transform"
            )
        self._initial = self.T_world_mri = T_world_mri
        self._update = self._attempt = self._tracker = self._settling = None
        self._new_keyframes = len(self.window.frames)

    def add_frame(self, frame: TrackedFrame) -> bool:
        """Take a frame in; return whether it joins those that are registered."""
        self._recent.add(frame)
        self._seen_new = True
        new = self.window.add(frame)
        if new:  # now, and not all at once when an attempt begins
            self._sampled.keep(self.window.frames)
            if self._tracker is None:
                self._coarsely_sampled.keep(self.window.frames)
        self._new_keyframes += new
        return new

    @property
    def searching(self) -> bool:
        """Whether a search is under way that further steps go on with."""
        return self._attempt is not None

    @property
    def following(self) -> bool:
        """Whether a trusted pose is being followed."""
        return self._tracker is not None

    def step(self, poses: int | None = None) -> RegistrationUpdate | None:
        """Attempt, go on with, or follow up, a registration on the frames so far.

        Args:
            poses: Work of a search in this step, in scored poses; unless told, all of it is done.

        Returns:
            The result; the previous one where nothing new has been seen since, or where a search
            is under way; None where there is no initial guess or there are too few frames.
        """
        if self.T_world_mri is None:
            return None
        if self._tracker is not None:
            if self._seen_new:
                self._update = self._followed(self._tracker, self.T_world_mri)
            return self._update
        due = self._update is None or self._new_keyframes >= self.settings.retry_keyframes
        if self._attempt is None and due and len(self.window.frames) >= self.settings.min_frames:
            self._new_keyframes, self._seen_new = 0, False
            window, stamp_ns = self._sampled.observe(self.window.frames), self._newest_ns()
            missing = missing_before(window, self.settings)
            if missing:
                self._update = self._blank(window, stamp_ns, self.T_world_mri, "; ".join(missing))
            else:
                self._attempt = self._begun(self.T_world_mri, window, stamp_ns)
        if self._attempt is not None and self._advanced(self._attempt, poses):
            self._update = self._concluded(self._attempt, self.T_world_mri)
            if self._update.trusted:
                self.T_world_mri = self._update.T_world_mri
                self._tracker = self._began_to_follow(self._update, self._attempt.window)
            self._attempt = None
        return self._update

    def finish(self) -> RegistrationUpdate | None:
        """End what is under way, for runs that no further frame follows.

        A search goes to its end; the pose of a patient at rest is refined on all that was seen.
        """
        self.step()
        tracker, update = self._tracker, self._update
        if tracker is not None and update is not None and update.trusted and not tracker.moved:
            settling = self._settling_on_all(update.T_world_mri)
            while not settling.advance():
                pass
            if self._settled(tracker, settling):
                self._update = at_rest(update, tracker.at_rest, self.settings)
                self.T_world_mri = self._update.T_world_mri
        return self._update

    def expected_image(
        self, frame: TrackedFrame, T_world_mri: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "rows columns"]:
        """Draw what the MRI, placed at a pose, explains of a frame; 0 where it says nothing."""
        image, _ = expected_image(frame, self.channels, T_world_mri, self.settings)
        return image

    def _begun(
        self, T_world_mri: Float64[np.ndarray, "4 4"], window: BeamWindow, stamp_ns: int
    ) -> _Attempt:
        coarse = self._coarsely_sampled.observe(self.window.frames)
        T_mri_world, settings = invert_rigid(T_world_mri), self.settings
        channels = (self.channels, self._coarse_channels)
        levels = make_levels(window, coarse, *channels, settings)
        search, chance = GlobalSearch(levels, T_mri_world, settings), None
        if settings.start_count > 0:
            turned = make_levels(mirrored(window), mirrored(coarse), *channels, settings)
            count = min(settings.mirrored_count, settings.start_count)
            chance = GlobalSearch(turned, T_mri_world, settings, first_only=count)
        return _Attempt(window, stamp_ns, levels.last, search, chance)

    def _advanced(self, attempt: _Attempt, poses: int | None) -> bool:
        """Do a step's work on a search; return whether it is done."""
        if not attempt.search.done:
            attempt.search.advance(poses)
            if poses is not None:
                return False
        return attempt.chance is None or attempt.chance.advance(poses)

    def _concluded(
        self, attempt: _Attempt, T_before: Float64[np.ndarray, "4 4"]
    ) -> RegistrationUpdate:
        """Take what a search found, and weigh it."""
        self._gap = attempt.search.gap
        objective = attempt.objective
        refined = self._mean_of_peaks(attempt.search, objective)
        return judged(
            self._blank(attempt.window, attempt.stamp_ns, T_before),
            refined,
            coverage=objective.coverage(refined.T_mri_world),
            chance_score=attempt.chance.best.score if attempt.chance is not None else UNKNOWN,
            gap=self._gap,
            settings=self.settings,
        )

    def _mean_of_peaks(self, search: GlobalSearch, objective: Objective) -> Refinement:
        """Return the mean of what the images cannot tell apart, and keep where its peaks lie."""
        best, centre = search.best, objective.centre_world_mm
        near = near_peaks(search.peaks, centre, self.settings.mode_distance_mm)
        self._peaks = []
        if len(near) == 1:
            return best
        T = mean_pose(near, centre)
        self._peaks = [twist_between(T, peak.T_mri_world, centre) for peak in near]
        mean = refine(objective, T, max_iterations=0)
        return replace(mean, iterations=best.iterations, converged=best.converged)

    def _began_to_follow(self, update: RegistrationUpdate, window: BeamWindow) -> PatientTracker:
        T_mri_world, centre = invert_rigid(update.T_world_mri), update.centre_world_mm
        registered = Belief(T_mri_world, update.covariance, centre, update.stamp_ns)
        return PatientTracker(self.channels, self.settings, registered, window)

    def _followed(
        self, tracker: PatientTracker, T_before: Float64[np.ndarray, "4 4"]
    ) -> RegistrationUpdate:
        """Follow the patient; where he is lost, forget what was seen of him and search anew."""
        tracked = tracker.follow(self._recent)
        self.T_world_mri, self._seen_new = tracked.T_world_mri, False
        self._settle(tracker, tracked)
        if tracked.lost:
            self._tracker = None
            self._new_keyframes = 0
            self.window.clear()
        before = self._blank(tracked.window, self._recent.newest_ns, T_before)
        return followed(before, tracked, self._gap)

    def _settle(self, tracker: PatientTracker, tracked: Tracked) -> None:
        """Refine the pose of a patient at rest where enough was seen since; it holds from then."""
        if tracker.moved or tracked.doubt:
            self._settling = None
            return
        if self._settling is None and self._new_keyframes >= self.settings.retry_keyframes:
            self._settling = self._settling_on_all(tracked.T_world_mri)
        if self._settling is not None and self._settling.advance():
            self._settled(tracker, self._settling)
            self._settling = None

    def _settling_on_all(self, T_world_mri: Float64[np.ndarray, "4 4"]) -> Settling:
        """Begin to refine a pose on all keyframes."""
        self._new_keyframes = 0
        window = self._sampled.observe(self.window.frames)
        objective = make_objective(window, self.channels, self.settings)
        reach_mm = self.settings.mode_distance_mm
        return Settling(objective, window, T_world_mri, self._peaks, reach_mm)

    def _settled(self, tracker: PatientTracker, settling: Settling) -> bool:
        """Have the tracker take a refined pose; not one further off, which is another answer."""
        if settling.moved_mm > self.settings.mode_distance_mm:
            return False
        tracker.settle(settling.belief(self._recent.newest_ns), settling.window)
        return True

    def _newest_ns(self) -> int:
        return max(frame.stamp_ns for frame in self.window.frames)

    def _blank(
        self,
        window: BeamWindow,
        stamp_ns: int,
        T_world_mri: Float64[np.ndarray, "4 4"],
        message: str = "",
    ) -> RegistrationUpdate:
        assert self._initial is not None
        return blank(window, stamp_ns, T_world_mri, self._initial, self.settings, message)
