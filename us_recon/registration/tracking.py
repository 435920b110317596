"""A registered pose that is followed while the patient moves.

While the images do not show that the patient has moved, the pose stays as it was registered, or as
it was refined since on more of his images (see `settling`). Then a filter follows it (see
`tracking_filter`), but only by windows that fit: others leave the pose where it is, exactly. Where
none has fitted for as long as a window lasts, it is not trusted, and after a while, or when too
much time has passed unseen, the patient is lost.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import chi2

from us_recon.geometry.rigid import invert_rigid
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import make_objective
from us_recon.registration.observation import BeamWindow
from us_recon.registration.recent import RecentFrames
from us_recon.registration.search import moved_about
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.tracking_filter import Belief, Correction, corrected, predicted

_STEPS = 4
"""Per window; the next window goes on where this one ended."""
_MOVED_SCORE = 0.03
"""Gain in score that shows a motion. Set by us: on development procedures, windows gained up to
0.024, and 0.010 on average, by a pose beside the true one."""
_BESIDE_MM = 8.0
_LEAD_PATCHES = 400
_LARGEST_SURPRISE = 30.0
"""Squared move in units of what was predicted, of which chance exceeds this once in 25 000."""
_RIGHT_MM = 3.0
_LOST_AFTER = 3.0
"""Time without a window that fits, in lengths of a window."""
_BESIDE = _BESIDE_MM * np.vstack([np.eye(3, 6), -np.eye(3, 6)])


@dataclass(frozen=True, eq=False)
class Tracked:
    """What came of one window.

    Attributes:
        T_world_mri: Pose of the MRI.
        covariance: Of the twist (mm, rad) about the images' centre, on the MRI's axes.
        doubt: Why this window did not move the pose; empty where it could.
        trusted: Whether the pose may be used.
        lost: Whether the patient has to be searched anew.
        confidence: Probability of being within 3 mm by the covariance.
        score: Explained share of the window's variance; NaN where it shows nothing.
        least_score: Score below which the window does not count; NaN likewise.
        beside_score: What poses 8 mm beside explain; NaN likewise.
        coverage: Share of the window inside the MRI; NaN likewise.
        message: For a person: that it is followed, or why it is not.
        iterations: Steps taken.
        curvature: Gauss-Newton matrix of ``1 - score``.
        window: What was seen.
    """

    T_world_mri: Float64[np.ndarray, "4 4"]
    covariance: Float64[np.ndarray, "6 6"]
    doubt: str
    trusted: bool
    lost: bool
    confidence: float
    score: float
    least_score: float
    beside_score: float
    coverage: float
    message: str
    iterations: int
    curvature: Float64[np.ndarray, "6 6"]
    window: BeamWindow


@dataclass(frozen=True, eq=False)
class AtRest:
    """A registered pose, and what speaks for it.

    Attributes:
        belief: The pose and its covariance.
        window: The frames it was registered with.
        score: Explained share of their variance.
        lead: By how much it explains more than poses beside it.
        curvature: Gauss-Newton matrix of ``1 - score``.
    """

    belief: Belief
    window: BeamWindow
    score: float
    lead: float
    curvature: Float64[np.ndarray, "6 6"]


@dataclass(frozen=True, eq=False)
class _Look:
    """What a window says: the corrected pose, what explains it there and beside, and at rest."""

    correction: Correction
    lead: float
    gain_by_motion: float
    coverage: float


class PatientTracker:
    """Follow one registered pose."""

    def __init__(
        self,
        channels: MriChannels,
        settings: RegistrationSettings,
        registered: Belief,
        window: BeamWindow,
    ) -> None:
        """Begin.

        Args:
            channels: MRI, from `make_channels`.
            settings: The settings it was made with.
            registered: The registered pose and its covariance.
            window: The frames it was registered with.
        """
        self.moved = False
        """Whether the images have shown that the patient moved since then."""
        self._channels, self._settings = channels, settings
        self._doubted_since_ns: int | None = None
        self.settle(registered, window)

    def settle(self, registered: Belief, window: BeamWindow) -> None:
        """Take a pose as registered, or registered anew, and the frames that it rests on."""
        objective = make_objective(window, self._channels, self._settings)
        here = objective.linearise(registered.T_mri_world)
        lead = self._lead(window, registered.T_mri_world)
        self._belief = registered
        self.at_rest = AtRest(registered, window, here.score, lead, here.curvature)

    def follow(self, recent: RecentFrames) -> Tracked:
        """Follow the pose through the newest frames; there must be one."""
        window, stamp_ns = recent.observe(), recent.newest_ns
        prior = predicted(self._belief, stamp_ns, window.centre_world_mm, self._settings)
        look = self._look(prior, window) if self._shows_enough(window) else None
        doubt = "too little to see" if look is None else self._doubt(look)
        if look is None or doubt:
            self._belief = prior  # the pose as it was, less well known
        else:
            self._belief = look.correction.belief
            self.moved |= look.gain_by_motion > _MOVED_SCORE
        return self._result(window, look, doubt, self._doubted_for(look, doubt, stamp_ns))

    def _shows_enough(self, window: BeamWindow) -> bool:
        """Tell whether the frames show as much, each, as a registration needs."""
        settings = self._settings
        share = len(window.values) / settings.window_frames
        return window.area_mm2 >= settings.min_area_mm2 * share

    def _look(self, prior: Belief, window: BeamWindow) -> _Look:
        objective = make_objective(window, self._channels, self._settings)
        correction = corrected(prior, objective, _STEPS)
        T = correction.belief.T_mri_world
        score_at_rest = correction.score
        if not self.moved:
            score_at_rest = objective.score(self.at_rest.belief.T_mri_world)
        return _Look(
            correction,
            lead=self._lead(window, T),
            gain_by_motion=correction.score - score_at_rest,
            coverage=objective.coverage(T),
        )

    def _lead(self, window: BeamWindow, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return by how much a pose explains more than those beside it do on average."""
        thin = make_objective(window, self._channels, self._settings, _LEAD_PATCHES)
        poses = moved_about(thin.centre_world_mm, T_mri_world, _BESIDE)
        scores = thin.scores(np.concatenate([T_mri_world[None], poses]))
        return float(scores[0] - scores[1:].mean())

    def _doubt(self, look: _Look) -> str:
        """Return why a window should not move the pose; empty if it may."""
        settings = self._settings
        if not look.coverage >= settings.min_coverage:
            return f"only {look.coverage:.0%} of the images lie inside the MRI"
        if look.lead < settings.tracking_lead * self.at_rest.lead:
            return (
                f"the images hardly fit any more: lead over places beside {look.lead:.3f}, "
                f"{self.at_rest.lead:.3f} when registered"
            )
        if look.correction.surprise > _LARGEST_SURPRISE:
            return f"the images ask for a jump of {look.correction.moved_mm:.1f} mm"
        return ""

    def _doubted_for(self, look: _Look | None, doubt: str, stamp_ns: int) -> float:
        """Return for how long no window has fitted, in lengths of a window; unseen is no doubt."""
        if look is None or not doubt:
            self._doubted_since_ns = None
            return 0.0
        if self._doubted_since_ns is None:
            self._doubted_since_ns = stamp_ns
        return 1e-9 * (stamp_ns - self._doubted_since_ns) / self._settings.tracking_span_s

    def _result(
        self, window: BeamWindow, look: _Look | None, doubt: str, doubted_for: float
    ) -> Tracked:
        confidence = within(self._belief.covariance, _RIGHT_MM)
        if confidence < self._settings.min_confidence:
            needed = f"confidence {confidence:.2f}, {self._settings.min_confidence:g} needed"
            doubt, doubted_for = f"{doubt or 'seen too loosely'}; {needed}", np.inf
        score = coverage = beside = least = float("nan")
        if look is not None:
            score, coverage = look.correction.score, look.coverage
            beside = score - look.lead
            least = beside + self._settings.tracking_lead * self.at_rest.lead
        followed = self._belief if self.moved else self.at_rest.belief
        return Tracked(
            T_world_mri=invert_rigid(followed.T_mri_world),
            covariance=self._belief.covariance,
            doubt=doubt,
            trusted=doubted_for < 1.0,
            lost=doubted_for >= _LOST_AFTER,
            confidence=confidence,
            score=score,
            least_score=least,
            beside_score=beside,
            coverage=coverage,
            message=self._message(look, doubt, doubted_for),
            iterations=0 if look is None else look.correction.iterations,
            curvature=np.zeros((6, 6)) if look is None else look.correction.curvature,
            window=window,
        )

    def _message(self, look: _Look | None, doubt: str, doubted_for: float) -> str:
        if doubted_for >= 1.0:
            return f"withdrawn: {doubt}" + "; searching anew" * (doubted_for >= _LOST_AFTER)
        if look is None or doubt:
            return f"the pose is kept: {doubt}"
        what = "following a patient who moves" if self.moved else "following, patient at rest"
        # Brain shift shows here: what no rigid pose explains any more.
        less = 1.0 - look.correction.score / max(self.at_rest.score, 1e-9)
        return (
            f"{what}: score {look.correction.score:.3f}, {max(less, 0.0):.0%} less of the images "
            "explained than when registered"
        )


def within(covariance: Float64[np.ndarray, "6 6"], distance_mm: float) -> float:
    """Return the probability that the images' centre is within a distance of its true place.

    The position's covariance counts as a sphere of the same size.
    """
    variance_mm2 = float(np.trace(covariance[:3, :3])) / 3.0
    return float(chi2.cdf(distance_mm**2 / max(variance_mm2, 1e-12), df=3))
