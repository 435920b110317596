"""LC2: how well local linear combinations of MRI channels explain the images.

In each patch the measured brightness U is fitted by ``alpha m + beta |grad m| + gamma`` with the
MRI's intensity m and gradient magnitude at the pose. The score is the explained share of the
patches' variance; the fit is the image to expect there. Wein, Brunke, Khamene, Callstrom, Navab,
Med. Image Anal. 12 (2008) 577; Fuerst, Wein, Mueller, Navab, Med. Image Anal. 18 (2014) 1312.

Patches are fitted through their moments, which are box filters over the grid, so that overlapping
patches cost no more than their number.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64
from torch import Tensor

from us_recon.registration.channels import GRADIENT, INSIDE, INTENSITY, MriChannels
from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings

_LEAST_FILLING = 0.5
"""Patches with less than this share of usable samples do not count; from there to a full patch
the weight rises linearly, so that no patch appears or vanishes at once."""

TINY = 1e-6
"""Keeps the fit defined in patches where the MRI is constant."""


@dataclass(frozen=True, eq=False)
class PatchFit:
    """The local fits of one pose.

    Attributes:
        alpha: Coefficient of the MRI's intensity in each patch.
        beta: Coefficient of the gradient magnitude.
        gamma: Constant.
        variance: Variance of the measured brightness.
        explained: Part of that variance that the fit explains.
        weight: Weight of the patch in the score; 0 where too few samples can be used.
    """

    alpha: Float32[Tensor, "frames rows columns"]
    beta: Float32[Tensor, "frames rows columns"]
    gamma: Float32[Tensor, "frames rows columns"]
    variance: Float32[Tensor, "frames rows columns"]
    explained: Float32[Tensor, "frames rows columns"]
    weight: Float32[Tensor, "frames rows columns"]

    @property
    def score(self) -> Float32[Tensor, ""]:
        """Explained share of the weighted variance, 0 to 1; 0 where no patch counts."""
        total = (self.weight * self.variance).sum()
        return (self.weight * self.explained).sum() / total.clamp(min=1e-9)


@dataclass(frozen=True, eq=False)
class Lc2:
    """The similarity of one window of frames and one MRI, as a function of the pose.

    Attributes:
        window: The measured side.
        channels: The MRI side.
        patch_weight: Weight of each patch before the MRI's border is known,
            ``1 / (variance + median variance)``: bright reflectors do not outvote the rest.
        settings: Patch size and stride.
    """

    window: BeamWindow
    channels: MriChannels
    patch_weight: Float32[Tensor, "frames rows columns"]
    settings: RegistrationSettings

    def __call__(self, T_mri_world: Float32[Tensor, "4 4"]) -> Float32[Tensor, ""]:
        """Return the score of a pose, 0 to 1. Gradients flow to the pose."""
        return self.fit(self.channels.sample(self.points_world_mm, T_mri_world)).score

    def score(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return the score of a pose without gradients."""
        with torch.no_grad():
            sampled = self.channels.sample_fast(self.points_world_mm, T_mri_world)
            return self.fit(sampled).score.item()

    def coverage(self, T_mri_world: Float64[np.ndarray, "4 4"]) -> float:
        """Return the share of the valid samples that lie inside the MRI, 0 to 1."""
        inside = self.channels.sample_fast(self.points_world_mm, T_mri_world)[INSIDE]
        valid = self.window.valid.flatten()
        return float((inside * valid).sum() / valid.sum().clamp(min=1.0))

    @property
    def points_world_mm(self) -> Float32[Tensor, "n 3"]:
        """Positions of all samples of the window."""
        return self.window.points_world_mm.view(-1, 3)

    def fit(self, sampled: Float32[Tensor, "3 n"]) -> PatchFit:
        """Fit every patch, given the MRI's channels at all samples. Gradients flow."""
        window = self.window
        m, g, inside = sampled.reshape(3, *window.values.shape)
        u, w = window.values, window.valid * inside
        moments = self.pool(torch.stack([w, w * u, w * m, w * g, w * u * u, w * m * m,
                                         w * g * g, w * m * g, w * u * m, w * u * g]))  # fmt: skip
        filling = moments[0]
        u, m, g, uu, mm, gg, mg, um, ug = moments[1:] / filling.clamp(min=0.02)
        a = mm - m * m + self.channels.ridge[INTENSITY] + TINY
        b = gg - g * g + self.channels.ridge[GRADIENT] + TINY
        c, d, e = mg - m * g, um - u * m, ug - u * g
        determinant = a * b - c * c
        alpha = (b * d - c * e) / determinant
        beta = (a * e - c * d) / determinant
        return PatchFit(
            alpha=alpha,
            beta=beta,
            gamma=u - alpha * m - beta * g,
            variance=uu - u * u,
            explained=alpha * d + beta * e,
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
    counted = variance[filling > _LEAST_FILLING]
    median = float(counted.median()) if len(counted) else 1.0
    return Lc2(window, channels, 1.0 / (variance + max(median, TINY)), settings)


def _pool(
    images: Float32[Tensor, "*k frames beams samples"], settings: RegistrationSettings
) -> Float32[Tensor, "*k frames rows columns"]:
    size = min(settings.patch_samples, *images.shape[-2:])
    flat = images.reshape(1, -1, *images.shape[-2:])
    pooled = F.avg_pool2d(flat, size, settings.patch_stride)[0]
    return pooled.reshape(*images.shape[:-2], *pooled.shape[-2:])


def _gate(filling: Float32[Tensor, "*n"]) -> Float32[Tensor, "*n"]:
    return ((filling - _LEAST_FILLING) / (1.0 - _LEAST_FILLING)).clamp(0.0, 1.0)
