"""The measured side of a registration: a window of frames on one coarse beam-space grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import radians

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from us_recon.errors import InputError
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.first_and_last import between_first_and_last
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.scan_conversion import to_beams, to_image
from us_recon.registration.settings import RegistrationSettings

Sampled = tuple[Float32[np.ndarray, "beams samples"], Bool[np.ndarray, "beams samples"]]


@dataclass(frozen=True, eq=False)
class BeamWindow:
    """Images of several frames, sampled along their beams, and where the samples lie.

    Attributes:
        geometry: The probe, with as many beams and samples as the grid has.
        points_world_mm: Position of every sample.
        values: Brightness, of mean 0 and variance 1 over the valid samples; 0 elsewhere.
        valid: 1 where the image shows tissue, 0 in shadow, without contact and outside the fan.
        centre_world_mm: Mean position of the valid samples; turns are about this point.
        mean: Brightness that `values` gives as 0.
        scale: Brightness that `values` gives as 1.
    """

    geometry: ProbeGeometry
    points_world_mm: Float32[Tensor, "frames beams samples 3"]
    values: Float32[Tensor, "frames beams samples"]
    valid: Float32[Tensor, "frames beams samples"]
    centre_world_mm: Float64[np.ndarray, "3"]
    mean: float
    scale: float

    @property
    def area_mm2(self) -> float:
        """Area with echoes, summed over the frames."""
        points = self.geometry.beam_points_mm
        lateral = np.linalg.norm(np.gradient(points, axis=0), axis=-1)
        area = torch.from_numpy((lateral * self.geometry.sample_step_mm).astype(np.float32))
        return float((self.valid * area).sum())

    @property
    def spread_mm(self) -> float:
        """Distance that the valid samples span in the direction in which they span least.

        Four standard deviations along the thinnest axis: 0 for frames in one plane.
        """
        points = self.points_world_mm[self.valid > 0].double()
        if len(points) < 4:
            return 0.0
        return float(4.0 * torch.linalg.eigvalsh(torch.cov(points.T))[0].clamp(min=0.0).sqrt())


def observe(
    frames: Sequence[TrackedFrame],
    settings: RegistrationSettings,
    sampled: Sequence[Sampled] | None = None,
) -> BeamWindow:
    """Sample frames on the comparison grid and mark what they show.

    Args:
        frames: At least one frame; all of the same probe geometry.
        settings: Grid, blur and masks.
        sampled: What `sample_on_grid` gave of each frame with these settings, where it is known.

    Raises:
        InputError: No frame, or frames of different geometry.
    """
    if not frames or any(frame.geometry != frames[0].geometry for frame in frames):
        raise InputError(f"{len(frames)} frames; expected one or more, all of one geometry")
    geometry = comparison_grid(frames[0].geometry, settings.grid_mm)
    if sampled is None:
        sampled = [sample_frame(frame.image, geometry, settings) for frame in frames]
    values = np.stack([value for value, _ in sampled])
    valid = np.stack([mask for _, mask in sampled])
    if settings.time_gain_mm > 0.0:
        values = values - time_gain(values, valid, settings.time_gain_mm / geometry.sample_step_mm)
    inside = values[valid]
    mean, scale = (float(inside.mean()), float(inside.std())) if inside.size else (0.0, 1.0)
    scale = scale if scale > 1e-2 else 1.0  # an even image has no scale
    points = np.stack([world_points(geometry, frame.T_world_transducer) for frame in frames])
    centre = points[valid].mean(axis=0) if inside.size else points.reshape(-1, 3).mean(axis=0)
    return BeamWindow(
        geometry=geometry,
        points_world_mm=torch.from_numpy(points.astype(np.float32)),
        values=torch.from_numpy(np.where(valid, (values - mean) / scale, 0.0).astype(np.float32)),
        valid=torch.from_numpy(valid.astype(np.float32)),
        centre_world_mm=centre,
        mean=mean,
        scale=scale,
    )


def time_gain(
    values: Float32[np.ndarray, "frames beams samples"],
    valid: Bool[np.ndarray, "frames beams samples"],
    smoothing_samples: float,
) -> Float32[np.ndarray, " samples"]:
    """Return the mean brightness by depth, as far as it changes slowly.

    Over all frames, and smoothly: a scanner's gain is the same in every image and set by sliders a
    centimetre apart. What one frame has, or what changes within millimetres, is tissue.
    """
    total = gaussian_filter1d((values * valid).sum(axis=(0, 1)), smoothing_samples, mode="nearest")
    count = valid.sum(axis=(0, 1)).astype(np.float32)
    return np.asarray(
        total / np.maximum(gaussian_filter1d(count, smoothing_samples, mode="nearest"), 1e-3)
    )


def sample_on_grid(frame: TrackedFrame, settings: RegistrationSettings) -> Sampled:
    """Return a frame on its comparison grid, and where it shows tissue; see `sample_frame`."""
    return sample_frame(frame.image, comparison_grid(frame.geometry, settings.grid_mm), settings)


def comparison_grid(geometry: ProbeGeometry, grid_mm: float) -> ProbeGeometry:
    """Return the probe with beams and samples `grid_mm` apart (of a sector, at half depth)."""
    if geometry.kind == ProbeKind.LINEAR:
        width_mm = geometry.width_mm
    else:
        opening = radians(geometry.angle_max_deg - geometry.angle_min_deg)
        width_mm = opening * (geometry.radius_mm + geometry.depth_mm / 2.0)
    return replace(
        geometry,
        beam_count=max(2, round(width_mm / grid_mm)),
        sample_count=max(2, round(geometry.depth_mm / grid_mm) + 1),
    )


def world_points(
    geometry: ProbeGeometry, T_world_transducer: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "beams samples 3"]:
    """Return where the samples of the geometry's beams lie in the world, mm."""
    plane = geometry.beam_points_mm
    return transform_points(T_world_transducer, np.pad(plane, ((0, 0), (0, 0), (0, 1))))


def sample_frame(
    image: UInt8[np.ndarray, "rows columns"],
    geometry: ProbeGeometry,
    settings: RegistrationSettings,
) -> tuple[Float32[np.ndarray, "beams samples"], Bool[np.ndarray, "beams samples"]]:
    """Return an image along the beams of `geometry`, blurred, and where it shows tissue."""
    pixels = image.astype(np.float32)
    shown = (geometry.fan_mask & (image > 0)).astype(np.float32)
    around = to_beams(_blur(pixels, geometry, settings.grid_mm), geometry)
    share = to_beams(_blur(shown, geometry, settings.blur_mm), geometry)
    echoes = (share > 0.5) & (around >= settings.empty_level)
    valid = between_first_and_last(echoes)
    # What lies outside must not darken its surroundings: the blur is normalised by what counts.
    fluid = to_image((valid & ~echoes).astype(np.float32), geometry) > 0.5
    counted = np.maximum(shown, fluid.astype(np.float32))
    weight = np.maximum(_blur(counted, geometry, settings.blur_mm), 1e-3)
    blurred = _blur(pixels * counted, geometry, settings.blur_mm) / weight
    valid &= geometry.sample_depths_mm >= settings.near_field_mm
    return np.where(valid, to_beams(blurred, geometry), 0.0).astype(np.float32), valid


def _blur(
    image: Float32[np.ndarray, "h w"], geometry: ProbeGeometry, sigma_mm: float
) -> Float32[np.ndarray, "h w"]:
    if sigma_mm <= 0.0:
        return image
    return np.asarray(
        cv2.GaussianBlur(
            image,
            (0, 0),
            sigmaX=sigma_mm / geometry.spacing_x_mm,
            sigmaY=sigma_mm / geometry.spacing_y_mm,
            borderType=cv2.BORDER_CONSTANT,
        ),
        dtype=np.float32,
    )
