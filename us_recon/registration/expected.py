"""The image to expect at a pose: the local fits of the MRI's channels, drawn."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.scan_conversion import to_image
from us_recon.registration.channels import INSIDE, MriChannels
from us_recon.registration.observation import observe
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.similarity import Lc2, PatchFit, make_lc2


def expected_image(
    frame: TrackedFrame,
    channels: MriChannels,
    T_world_mri: Float64[np.ndarray, "4 4"],
    settings: RegistrationSettings,
) -> tuple[UInt8[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]:
    """Draw what the MRI, placed at a pose, explains of a frame.

    The coefficients are fitted to this frame's patches and blended where patches overlap; the
    MRI's channels are sampled at the full resolution of the image.

    Args:
        frame: The measured frame.
        channels: MRI, from `make_channels`.
        T_world_mri: Rigid pose of the MRI.
        settings: Grid and patch size.

    Returns:
        Brightness, and where it says anything: pixels without tissue, outside the MRI or outside
        the fan are 0 and not marked.
    """
    dense = replace(settings, patch_stride=1, remove_depth_mean=False)
    window = observe([frame], dense)
    similarity = make_lc2(window, channels, dense)
    T_mri_world = invert_rigid(T_world_mri)
    with torch.no_grad():
        fit = similarity.fit(channels.sample_fast(similarity.points_world_mm, T_mri_world))
        fields = _sums_over_patches(fit, similarity).numpy()
    *coefficients, gamma, count = [to_image(field, window.geometry) for field in fields]
    at = np.nonzero(count > 1e-3)
    pixels = np.stack([at[1], at[0], np.zeros_like(at[0])], axis=-1).astype(np.float32)
    points = torch.from_numpy(transform_points(frame.T_world_image, pixels))
    sampled = channels.sample_fast(points, T_mri_world).numpy()
    fitted = gamma[at] + sum(
        coefficient[at] * channel
        for coefficient, channel in zip(coefficients, sampled[:INSIDE], strict=True)
    )
    grey = window.mean + window.scale * fitted / count[at]
    image = np.zeros(frame.image.shape, dtype=np.uint8)
    known = np.zeros(frame.image.shape, dtype=bool)
    known[at] = sampled[INSIDE] > 0.5
    image[at] = np.where(known[at], np.clip(np.rint(grey), 0.0, 255.0), 0.0).astype(np.uint8)
    return image, known


def _sums_over_patches(fit: PatchFit, similarity: Lc2) -> Float32[Tensor, "fields beams samples"]:
    """Return the sums of coefficients, gamma and 1 over the patches that hold each sample."""
    counted = (fit.weight > 0).float()
    fields = torch.cat([fit.coefficients * counted, (fit.gamma * counted)[None], counted[None]])
    size = min(similarity.settings.patch_samples, *similarity.window.values.shape[1:])
    sums = F.conv_transpose2d(fields, torch.ones(1, 1, size, size))[:, 0]
    return sums * similarity.window.valid
