"""LC2: how well local linear combinations of MRI channels explain the images.

In each patch the measured brightness U is fitted by ``sum_c a_c x_c + gamma`` with the channels x_c
at the pose: the MRI's intensity and gradient magnitude, as published, or any others. The score is
the explained share of the patches' variance; the fit is the image to expect there. Wein, Brunke,
Khamene, Callstrom, Navab, Med. Image Anal. 12 (2008) 577; Fuerst, Wein, Mueller, Navab, Med. Image
Anal. 18 (2014) 1312.

Patches are fitted through their moments, which are box filters over the grid, so that overlapping
patches cost no more than their number. This is the readable form, for one pose and with gradients;
`objective` is its compiled twin.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64
from torch import Tensor

from us_recon.registration.channels import MriChannels
from us_recon.registration.observation import BeamWindow
from us_recon.registration.patches import LEAST_FILLING
from us_recon.registration.settings import RegistrationSettings

TINY = 1e-6
"""Keeps the fit defined in patches where the MRI is constant."""


@dataclass(frozen=True, eq=False)
class PatchFit:
    """The local fits of one pose.

    Attributes:
        coefficients: Coefficient of every channel in each patch.
        gamma: Constant.
        explained: Part of the brightness's variance that the fit explains.
        weight: Weight of the patch in the score; 0 where too few samples can be used.
    """

    coefficients: Float32[Tensor, "channels frames rows columns"]
    gamma: Float32[Tensor, "frames rows columns"]
    explained: Float32[Tensor, "frames rows columns"]
    weight: Float32[Tensor, "frames rows columns"]


@dataclass(frozen=True, eq=False)
class Lc2:
    """The similarity of one window of frames and one MRI, as a function of the pose.

    Attributes:
        window: The measured side.
        channels: The MRI side.
        patch_weight: Weight of each patch before the MRI's border is known,
            ``1 / (variance + median variance)``: bright reflectors do not outvote the rest.
        patch_variance: Variance of the measured brightness in each patch.
        total: Weighted variance of all patches, as far as the images fill them.
        settings: Patch size and stride.
    """

    window: BeamWindow
    channels: MriChannels
    patch_weight: Float32[Tensor, "frames rows columns"]
    patch_variance: Float32[Tensor, "frames rows columns"]
    total: Float32[Tensor, ""]
    settings: RegistrationSettings

    def __call__(self, T_mri_world: Float32[Tensor, "4 4"]) -> Float32[Tensor, ""]:
        """Return the score of a pose, 0 to 1. Gradients flow to the pose."""
        return self._share(self.fit(self.channels.sample(self.points_world_mm, T_mri_world)))

    def score(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return the score of a pose without gradients."""
        with torch.no_grad():
            sampled = self.channels.sample_fast(self.points_world_mm, T_mri_world)
            return self._share(self.fit(sampled)).item()

    def _share(self, fit: PatchFit) -> Float32[Tensor, ""]:
        """Return the explained share of the variance, 0 to 1; see `Objective`."""
        outside = self.total - (fit.weight * self.patch_variance).sum()
        explained = (fit.weight * fit.explained).sum()
        return (explained + self.settings.outside_share * outside) / self.total.clamp(min=1e-9)

    @property
    def points_world_mm(self) -> Float32[Tensor, "n 3"]:
        """Positions of all samples of the window."""
        return self.window.points_world_mm.view(-1, 3)

    def fit(self, sampled: Float32[Tensor, "rows_of_data n"]) -> PatchFit:
        """Fit every patch, given the channels and the mask at all samples. Gradients flow."""
        window = self.window
        shaped = sampled.reshape(-1, *window.values.shape)
        x, u, w = shaped[:-1], window.values, window.valid * shaped[-1]
        filling = self.pool(w[None])[0]

        def mean(images: Float32[Tensor, "*k frames beams samples"]) -> Tensor:
            return self.pool(w * images) / filling.clamp(min=0.02)

        mean_u, mean_x = mean(u[None])[0], mean(x)
        spread = mean(x[:, None] * x) - mean_x[:, None] * mean_x
        common = mean(x * u) - mean_x * mean_u
        damping = torch.tensor(self.channels.ridge) + TINY
        normal = spread.movedim((0, 1), (-2, -1)) + torch.diag(damping)
        coefficients = torch.linalg.solve(normal, common.movedim(0, -1)).movedim(-1, 0)
        return PatchFit(
            coefficients=coefficients,
            gamma=mean_u - (coefficients * mean_x).sum(dim=0),
            explained=(coefficients * common).sum(dim=0),
            weight=self.patch_weight * _gate(filling),
        )

    def pool(
        self, images: Float32[Tensor, "*k frames beams samples"]
    ) -> Float32[Tensor, "*k frames rows columns"]:
        """Return the mean over each patch."""
        return _pool(images, self.settings)


def make_lc2(window: BeamWindow, channels: MriChannels, settings: RegistrationSettings) -> Lc2:
    """Prepare the similarity of a window of frames and an MRI.

    Args:
        window: Frames, from `observe`.
        channels: MRI, from `make_channels`.
        settings: The settings both were made with.
    """
    u, w = window.values, window.valid
    filling, mean, square = _pool(torch.stack([w, w * u, w * u * u]), settings)
    mean, square = mean / filling.clamp(min=0.02), square / filling.clamp(min=0.02)
    variance = (square - mean * mean).clamp(min=0.0)
    counted = variance[filling > LEAST_FILLING]
    median = float(counted.median()) if len(counted) else 1.0
    weight = 1.0 / (variance + max(median, TINY))
    total = (_gate(filling) * weight * variance).sum()
    return Lc2(window, channels, weight, variance, total, settings)


def _pool(
    images: Float32[Tensor, "*k frames beams samples"], settings: RegistrationSettings
) -> Float32[Tensor, "*k frames rows columns"]:
    size = min(settings.patch_samples, *images.shape[-2:])
    flat = images.reshape(1, -1, *images.shape[-2:])
    pooled = F.avg_pool2d(flat, size, settings.patch_stride)[0]
    return pooled.reshape(*images.shape[:-2], *pooled.shape[-2:])


def _gate(filling: Float32[Tensor, "*n"]) -> Float32[Tensor, "*n"]:
    return ((filling - LEAST_FILLING) / (1.0 - LEAST_FILLING)).clamp(0.0, 1.0)
