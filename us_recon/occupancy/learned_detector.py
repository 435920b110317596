"""Bone without labels: what a network trained in simulation sees, smooth across the beams."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_network import BEAMS, STEP_MM, inputs_of, log_shares, trained
from us_recon.occupancy.brightness import (
    Beams,
    Calibration,
    calibrate,
    coarse_beams,
    coarse_geometry,
    coupled,
)
from us_recon.occupancy.ridge_path import best_path
from us_recon.occupancy.surface import BeamSurface, SurfaceSource
from us_recon.settings import setting

_NEAR = 2  # samples to either side that mean the same echo
_NEVER = -12.0  # log-odds


@dataclass(frozen=True)
class LearnedDetectorSettings:
    """How the network's log-odds become one surface."""

    threshold: float = setting(
        0.0, "Log-odds that bone needs on a beam", minimum=-10.0, maximum=10.0
    )
    cap: float = setting(8.0, "Log-odds that one beam brings at most", minimum=0.1, maximum=100.0)
    slope_cost: float = setting(
        0.4, "Cost of a change of depth between beams", unit="1/mm", minimum=0.0, maximum=100.0
    )
    switch_cost: float = setting(
        2.0, "Cost of a start or end of bone within the image", minimum=0.0, maximum=100.0
    )


def detect_learned(
    image: UInt8[np.ndarray, "rows columns"],
    geometry: ProbeGeometry,
    settings: LearnedDetectorSettings,
    calibration: Calibration | None = None,
    *,
    min_depth_mm: float = 4.0,
    contact_level: float = 0.15,
) -> tuple[BeamSurface, Calibration]:
    """Find the bone surface in one image; see `us_recon.occupancy.bone_detector.detect_bone`.

    Args:
        image: Brightness in MF orientation.
        geometry: Geometry of the image.
        settings: How strictly to look.
        calibration: Result of the frame before, None for the first of a recording.
        min_depth_mm: No bone above this depth.
        contact_level: Mean brightness of a beam with contact, in tissue.

    Returns:
        The surface, and the calibration with this frame in it.

    Raises:
        InputError: The image has another size than the geometry.
    """
    coarse = coarse_geometry(geometry, BEAMS, STEP_MM)
    beams = coarse_beams(image, geometry, coarse)
    calibration = calibrate(beams, coarse.sample_step_mm, calibration)
    shares = outcome_shares(inputs_of(beams, calibration, coarse))
    contact = coupled(calibration.brightness(beams), contact_level)
    near = _near_sums(shares[:, :-1])
    odds = np.log(near + 1e-9) - np.log(shares[:, -1:] + 1e-9) - np.float32(settings.threshold)
    evidence = np.clip(odds, _NEVER, settings.cap).astype(np.float32)
    evidence[:, coarse.sample_depths_mm < min_depth_mm] = _NEVER
    evidence[~contact] = _NEVER
    path = best_path(evidence, settings.slope_cost * coarse.sample_step_mm, settings.switch_cost)
    at_surface = near[np.arange(len(near)), path.index]
    surface = BeamSurface(
        geometry=coarse,
        depth_mm=_mean_depth_mm(shares[:, :-1], path.index, coarse),
        confidence=np.where(path.index >= 0, np.minimum(at_surface, 1), 0).astype(np.float32),
        contact=contact,
        source=SurfaceSource.DETECTOR,
    )
    return surface, calibration


def outcome_shares(
    inputs: Float32[np.ndarray, "3 beams samples"],
) -> Float32[np.ndarray, "beams outcomes"]:
    """Return the probability of a surface at each sample of each beam, and last of none."""
    with torch.inference_mode():
        batch = torch.from_numpy(inputs)[None].to(memory_format=torch.channels_last)
        return log_shares(trained(), batch)[0].exp().numpy()


def _near_sums(shares: Beams) -> Beams:
    """Return the probability of a surface within `_NEAR` samples of each."""
    sums = np.pad(np.cumsum(shares, axis=1), ((0, 0), (_NEAR + 1, _NEAR)), mode="edge")
    sums[:, : _NEAR + 1] = 0
    return sums[:, 2 * _NEAR + 1 :] - sums[:, : -2 * _NEAR - 1]


def _mean_depth_mm(
    shares: Beams, index: Int64[np.ndarray, " beams"], geometry: ProbeGeometry
) -> Float32[np.ndarray, " beams"]:
    """Return the expected depth near each found sample."""
    near = np.clip(index[:, None] + np.arange(-_NEAR, _NEAR + 1), 0, shares.shape[1] - 1)
    share = shares[np.arange(len(index))[:, None], near] + np.float32(1e-9)
    sample = (share * near).sum(axis=1) / share.sum(axis=1)
    return np.where(index >= 0, sample * geometry.sample_step_mm, np.nan).astype(np.float32)
