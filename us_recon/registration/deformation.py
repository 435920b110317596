"""A smooth deformation of the MRI, for tissue that has moved since it was taken (brain shift).

A few control points carry displacements; between and around them the field is what a Gaussian
process makes of these (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, ch.
2), so that it is smooth, and fades where nothing was imaged. The rigid pose stays. What is sought
maximises what the images say plus this prior, by the Levenberg-Marquardt steps of the rigid
registration, each neighbourhood of patches moving as one piece.

More freedom always explains more of the images it was fitted to. Whether the tissue has moved is
told by others: a field fitted to every second image has to explain the rest better, or it is not
believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.linalg import block_diag, cho_factor, cho_solve
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import cdist

from us_recon.errors import InputError
from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import observe
from us_recon.registration.patches import Patches
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.tracking_filter import NATS_PER_SCORE, TRUE_CURVATURE
from us_recon.settings import setting

_JITTER = 1e-4
_SOFTEST, _STIFFEST, _RAISE, _LOWER = 0.25, 1e4, 4.0, 0.5
_LEAST_GAIN_ELSEWHERE = 0.003
"""In score. Set by us: on the development seeds of ``python -m benchmarks.brain_shift`` undeformed
brains gain up to 0.004, and are made worse by 0.05 mm; those deformed by 5 mm gain more."""
_VOXELS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class DeformationSettings:
    """How the MRI may be deformed."""

    control_spacing_mm: float = setting(
        20.0, "Distance between the control points of a deformation.", unit="mm",
        minimum=4.0, maximum=100.0,
    )  # fmt: skip
    smooth_mm: float = setting(
        40.0, "Distance over which tissue moves together (length of the Gaussian process).",
        unit="mm", minimum=5.0, maximum=200.0,
    )  # fmt: skip
    largest_mm: float = setting(
        3.0, "How far tissue moves (standard deviation of each axis before anything is seen).",
        unit="mm", minimum=0.1, maximum=50.0,
    )  # fmt: skip
    deformation_steps: int = setting(20, "Steps of the fit.", minimum=1, maximum=1000)


@dataclass(frozen=True, eq=False)
class Deformation:
    """Displacements: what the rigidly placed MRI shows at x, it should show from ``x + u(x)``.

    Attributes:
        control_mri_mm: The control points, in the MRI.
        displacement_mm: u there, on the MRI's axes.
        weights: What the process makes of these: ``u(x) = k(x, control) weights``.
        smooth_mm: Length of the process.
    """

    control_mri_mm: Float64[np.ndarray, "m 3"]
    displacement_mm: Float64[np.ndarray, "m 3"]
    weights: Float64[np.ndarray, "m 3"]
    smooth_mm: float

    def at(self, points_mri_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return u at points of the MRI, mm."""
        return _kernel(points_mri_mm, self.control_mri_mm, self.smooth_mm) @ self.weights

    def inverse_at(
        self, points_mri_mm: Float64[np.ndarray, "n 3"], iterations: int = 20
    ) -> Float64[np.ndarray, "n 3"]:
        """Return where points of the undeformed MRI are now, before the rigid pose; mm.

        The fixed point of ``x = p - u(x)``, which exists while u stretches by less than 1.
        """
        here = points_mri_mm
        for _ in range(iterations):
            here = points_mri_mm - self.at(here)
        return here

    def applied(self, volume: Volume) -> Volume:
        """Return the MRI deformed, on its own voxels; NaN where it would come from outside."""
        shape = volume.data.shape
        values = np.empty(volume.data.size, dtype=np.float32)
        data = volume.data.astype(np.float32)
        for first in range(0, values.size, _VOXELS_AT_ONCE):
            flat = np.arange(first, min(first + _VOXELS_AT_ONCE, values.size))
            index = np.stack(np.unravel_index(flat, shape), axis=1).astype(np.float64)
            points = transform_points(volume.T_space_index, index)
            there = transform_points(volume.T_index_space, points + self.at(points))
            values[flat] = map_coordinates(data, there.T, order=1, cval=np.nan)
        return Volume(values.reshape(shape), volume.T_space_index)


@dataclass(frozen=True, eq=False)
class Deformed:
    """What came of a fit.

    Attributes:
        deformation: The field.
        rigid_score: Score of the rigid pose.
        score: Score with the deformation.
        gain_elsewhere: Gain in score, in images it was not fitted to, of a field fitted to every
            second one.
    """

    deformation: Deformation
    rigid_score: float
    score: float
    gain_elsewhere: float

    @property
    def believed(self) -> bool:
        """Whether images that took no part agree."""
        return self.gain_elsewhere > _LEAST_GAIN_ELSEWHERE


def deform(
    frames: Sequence[TrackedFrame],
    channels: MriChannels,
    T_world_mri: Float64[np.ndarray, "4 4"],
    registration: RegistrationSettings,
    settings: DeformationSettings,
) -> Deformed:
    """Fit a deformation to frames, the MRI placed as registered. Takes some seconds.

    Args:
        frames: Two or more; those of the registration's window, for one.
        channels: MRI, from `make_channels`.
        T_world_mri: Registered pose; it stays.
        registration: The settings that both were made with.
        settings: Control points and prior.

    Raises:
        InputError: There are less than two frames.
    """
    if len(frames) < 2:
        raise InputError(
            f"{len(frames)} frames; expected two or more, so that some can be left out"
        )
    T_mri_world = invert_rigid(T_world_mri)
    whole, half, rest = (
        _Fit(make_objective(observe(part, registration), channels, registration), T_mri_world,
             settings, len(part))
        for part in (frames, frames[::2], frames[1::2])
    )  # fmt: skip
    deformation = whole.solve(settings.deformation_steps)
    trial = half.solve(settings.deformation_steps)
    return Deformed(
        deformation,
        rigid_score=whole.score(None),
        score=whole.score(deformation),
        gain_elsewhere=rest.score(trial) - rest.score(None),
    )


class _Fit:
    """The fit of a field to some frames."""

    def __init__(
        self,
        objective: Objective,
        T_mri_world: Float64[np.ndarray, "4 4"],
        settings: DeformationSettings,
        frames: int,
    ) -> None:
        self._objective, self._T_mri_world, self._settings = objective, T_mri_world, settings
        # What a window of the tracking's five frames tells, so often.
        self._nats = NATS_PER_SCORE * frames / RegistrationSettings().tracking_frames
        patches = objective.patches
        points = patches.points_world_mm.astype(np.float64) + patches.centre_world_mm
        self._points_mri_mm = transform_points(T_mri_world, points)
        middles = self._points_mri_mm[patches.members].mean(axis=1)
        cells = np.floor(middles / settings.control_spacing_mm).astype(np.int64)
        _, piece = np.unique(cells, axis=0, return_inverse=True)
        self._pieces = [
            _piece(patches, np.flatnonzero(piece.ravel() == number))
            for number in range(piece.max(initial=-1) + 1)
        ]
        self._control = np.array([
            self._points_mri_mm[used].mean(axis=0) for used, _ in self._pieces
        ]).reshape(-1, 3)  # fmt: skip
        covariance = settings.largest_mm**2 * _kernel(
            self._control, self._control, settings.smooth_mm
        )
        covariance += _JITTER * settings.largest_mm**2 * np.eye(len(self._control))
        self._factor = cho_factor(covariance) if len(self._control) else None

    def solve(self, steps: int) -> Deformation:
        """Return the most probable field."""
        u = np.zeros_like(self._control)
        if self._factor is None:
            return self._field(u)
        count = len(u)
        precision = cho_solve(self._factor, np.eye(count))
        prior = np.kron(precision, np.eye(3))
        cost = self._cost(u)
        stiffness = 1.0
        gradient, curvature = self._linearised(u)
        for _ in range(steps):
            matrix = stiffness * self._nats * TRUE_CURVATURE * curvature + prior
            step = np.linalg.solve(matrix, self._nats * gradient - prior @ u.ravel())
            candidate = u + step.reshape(-1, 3)
            there = self._cost(candidate)
            if there < cost:
                u, cost = candidate, there
                stiffness = max(stiffness * _LOWER, _SOFTEST)
                if np.abs(step).max() < self._objective.tolerance_mm:
                    break
                gradient, curvature = self._linearised(u)
            else:
                stiffness *= _RAISE
                if stiffness > _STIFFEST:
                    break
        return self._field(u)

    def score(self, deformation: Deformation | None) -> float:
        """Return the share of the frames that the deformed MRI explains."""
        if deformation is None:
            return self._objective.score(self._T_mri_world)
        points = self._displaced(deformation.at(self._points_mri_mm))
        patches = replace(self._objective.patches, points_world_mm=points)
        return replace(self._objective, patches=patches).score(self._T_mri_world)

    def _cost(self, u: Float64[np.ndarray, "m 3"]) -> float:
        assert self._factor is not None
        prior = 0.5 * float((u * cho_solve(self._factor, u)).sum())
        return self._nats * (1.0 - self.score(self._field(u))) + prior

    def _field(self, u: Float64[np.ndarray, "m 3"]) -> Deformation:
        weights = u if self._factor is None else cho_solve(self._factor, u)
        scaled = self._settings.largest_mm**2 * weights
        return Deformation(self._control, u, scaled, self._settings.smooth_mm)

    def _displaced(self, u_mri_mm: Float64[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
        """Return the samples' places in the world, from the images' centre, moved by u."""
        in_world = u_mri_mm @ self._T_mri_world[:3, :3]
        return (self._objective.patches.points_world_mm + in_world).astype(np.float32)

    def _linearised(
        self, u: Float64[np.ndarray, "m 3"]
    ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n n"]]:
        """Return gradient and Gauss-Newton matrix of the score for the control points' shifts."""
        points = self._displaced(self._field(u).at(self._points_mri_mm))
        forces, stiffnesses = [], []
        for used, patches in self._pieces:
            moved = replace(patches, points_world_mm=points[used])
            here = replace(self._objective, patches=moved).linearise(self._T_mri_world)
            forces.append(here.gradient[:3])
            stiffnesses.append(here.curvature[:3, :3])
        return np.concatenate(forces), np.asarray(block_diag(*stiffnesses))


def _piece(
    patches: Patches, chosen: Int64[np.ndarray, " p"]
) -> tuple[Int64[np.ndarray, " n"], Patches]:
    """Return some of the patches, and which samples they use; the total stays that of all."""
    used, place = np.unique(patches.members[chosen], return_inverse=True)
    part = replace(
        patches,
        points_world_mm=patches.points_world_mm[used],
        values=patches.values[used],
        valid=patches.valid[used],
        members=place.reshape(patches.members[chosen].shape).astype(np.int32),
        weight=patches.weight[chosen],
        variance=patches.variance[chosen],
    )
    return used.astype(np.int64), part


def _kernel(
    a: Float64[np.ndarray, "n 3"], b: Float64[np.ndarray, "m 3"], length_mm: float
) -> Float64[np.ndarray, "n m"]:
    """Return the correlation of displacements at points: 1 at no distance, smooth everywhere."""
    return np.asarray(np.exp(-0.5 * cdist(a, b, "sqeuclidean") / length_mm**2))
