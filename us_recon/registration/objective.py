"""The score of poses and its derivatives, in compiled code: what search and solver climb.

`similarity.Lc2` is the readable twin, for one pose at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.geometry.rigid import make_rigid
from us_recon.registration.channels import MriChannels
from us_recon.registration.kernels import kernels
from us_recon.registration.observation import BeamWindow
from us_recon.registration.patches import LEAST_FILLING, Patches, make_patches
from us_recon.registration.settings import RegistrationSettings

_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Score, gradient and Gauss-Newton matrix at a pose.

    The twist (mm, rad) is of the MRI about the images' centre, on the MRI's axes.
    """

    score: float
    gradient: Float64[np.ndarray, "6"]
    curvature: Float64[np.ndarray, "6 6"]


@dataclass(frozen=True, eq=False)
class Objective:
    """Explained share of a window's variance, as a function of the pose.

    The share is of all that the images show. What lies outside the MRI counts as explained by
    `outside_share`, about what chance explains: else the fewer patches were left inside, the
    better a pose could score.

    Attributes:
        patches: The measured side.
        channels: The MRI side.
        outside_share: Share that counts as explained outside the MRI, 0 to 1.
        tolerance_mm: A refinement ends when a step moves the images less.
    """

    patches: Patches
    channels: MriChannels
    outside_share: float
    tolerance_mm: float

    @property
    def centre_world_mm(self) -> Float64[np.ndarray, "3"]:
        """The images' centre."""
        return self.patches.centre_world_mm

    def scores(
        self, poses: Sequence[Float64[np.ndarray, "4 4"]] | Float64[np.ndarray, "n 4 4"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the scores of poses `T_mri_world`, 0 to 1."""
        return self._shares(*self._sums(np.asarray(poses, dtype=np.float64).reshape(-1, 4, 4)))

    def score(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return the score of a pose, 0 to 1."""
        return float(self.scores(T_mri_world[None])[0])

    def coverage(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return the share of the images' weighted variance that lies inside the MRI, 0 to 1."""
        _, inside = self._sums(T_mri_world[None])
        return float(inside[0] / max(self.patches.total, _TINY))

    def linearise(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> Linearisation:
        """Return the score, its gradient and its Gauss-Newton matrix at a pose.

        The gradient holds the patches' weights, which change at the MRI's border alone, for
        constant.
        """
        gradient, curvature = np.zeros(6), np.zeros((6, 6))
        turned = self.patches.points_world_mm @ T_mri_world[:3, :3].T.astype(np.float32)
        axes = self.channels.T_index_mri[:3, :3].astype(np.float32)
        explained, inside = kernels(len(self.channels.ridge)).linearise(
            *self._arguments(), self._matrices(T_mri_world[None])[0],
            np.ascontiguousarray(axes), np.ascontiguousarray(turned), np.float32(LEAST_FILLING),
            gradient, curvature,
        )  # fmt: skip
        score = self._shares(np.array([explained]), np.array([inside]))[0]
        total = max(self.patches.total, _TINY)
        return Linearisation(float(score), gradient / total, curvature / total)

    def _sums(
        self, poses: Float64[np.ndarray, "n 4 4"]
    ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        explained, inside = np.zeros(len(poses)), np.zeros(len(poses))
        kernels(len(self.channels.ridge)).score(
            *self._arguments(), self._matrices(poses), np.float32(LEAST_FILLING), explained, inside
        )
        return explained, inside

    def _shares(
        self, explained: Float64[np.ndarray, " n"], inside: Float64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        if self.patches.total <= _TINY:
            return np.zeros(len(explained))
        outside = np.maximum(self.patches.total - inside, 0.0)
        return (explained + self.outside_share * outside) / self.patches.total

    def _arguments(self) -> tuple[object, ...]:
        patches, data = self.patches, self.channels.data
        return (
            data.reshape(-1), data.shape, patches.points_world_mm, patches.values, patches.valid,
            patches.members, patches.weight, patches.variance,
            np.array(self.channels.ridge, dtype=np.float32),
        )  # fmt: skip

    def _matrices(self, poses: Float64[np.ndarray, "n 4 4"]) -> Float32[np.ndarray, "n 3 4"]:
        """Return the affine maps from centred points to voxel indices."""
        from_centre = poses @ make_rigid(np.eye(3), self.patches.centre_world_mm)
        return np.ascontiguousarray(
            (self.channels.T_index_mri @ from_centre)[:, :3], dtype=np.float32
        )


def make_objective(
    window: BeamWindow,
    channels: MriChannels,
    settings: RegistrationSettings,
    max_patches: int | None = None,
) -> Objective:
    """Prepare the objective of a window of frames and an MRI, made with the same settings.

    Args:
        window: Frames, from `observe`.
        channels: MRI, from `make_channels`.
        settings: Patch size and stride.
        max_patches: Most patches, spread over the window; they do not overlap.
    """
    stride = settings.patch_stride if max_patches is None else settings.patch_samples
    patches = make_patches(window, settings.patch_samples, stride, max_patches)
    return Objective(patches, channels, settings.outside_share, settings.tolerance_mm)
