"""Bone without labels: what looks like bone along the beams, smooth across them.

What looks like bone is a bright ridge with a shadow below it (`bone_evidence`), what a network
trained in simulation takes for it (`learned_evidence`), or both; or the rule alone until labels
have taught the network what bone looks like in this recording, and from then on both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_evidence import CAP, BoneEvidenceSettings, bone_evidence
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

if TYPE_CHECKING:  # PyTorch takes a second and 200 MB, which the rule can do without
    from us_recon.occupancy.learned_evidence import LearnedEvidence

Weights = Mapping[str, Any]
"""A network's weights by name, as in `bone_network`."""

DETECTORS = ("ridge", "learned", "both", "adaptive")


@dataclass(frozen=True)
class BoneDetectorSettings:
    """How finely and how strictly bone is looked for."""

    kind: str = setting(
        "ridge",
        "What looks for bone: ridge and shadow by rule, a network trained in simulation, or both; "
        "adaptive: the rule until labels have taught the network, then both",
        choices=DETECTORS,
    )
    beams: int = setting(128, "Beams looked at per image", minimum=8, maximum=1024)
    step_mm: float = setting(0.15, "Sampling along a beam", unit="mm", minimum=0.05, maximum=1.0)
    slope_cost: float = setting(
        0.4, "Cost of a change of depth between beams", unit="1/mm", minimum=0.0, maximum=100.0
    )
    switch_cost: float = setting(
        2.0, "Cost of a start or end of bone within the image", minimum=0.0, maximum=100.0
    )
    contact_level: float = setting(
        0.15, "Mean brightness of a beam with contact, in tissue", minimum=0.0, maximum=1.0
    )
    evidence: BoneEvidenceSettings = field(default_factory=BoneEvidenceSettings)


_REFINE_MM = 0.9


def detect_bone(
    image: UInt8[np.ndarray, "rows columns"],
    geometry: ProbeGeometry,
    settings: BoneDetectorSettings,
    calibration: Calibration | None = None,
    learnt: Weights | None = None,
) -> tuple[BeamSurface, Calibration]:
    """Find the bone surface in one image.

    The best path across the beams passes it; its depth is that of the brightest echo there or,
    where the network looks too, the one that it expects there.

    Args:
        image: Brightness in MF orientation.
        geometry: Geometry of the image.
        settings: How finely and strictly to look.
        calibration: Result of the frame before, None for the first of a recording.
        learnt: What labels have made of the network's weights; None as long as there were too few.

    Returns:
        The surface, and the calibration with this frame in it.

    Raises:
        InputError: The image has another size than the geometry.
    """
    coarse = coarse_geometry(geometry, settings.beams, settings.step_mm)
    beams = coarse_beams(image, geometry, coarse)
    calibration = calibrate(beams, coarse.sample_step_mm, calibration)
    return bone_on_beams(beams, coarse, settings, calibration, learnt), calibration


def bone_on_beams(
    beams: Beams,
    coarse: ProbeGeometry,
    settings: BoneDetectorSettings,
    calibration: Calibration,
    learnt: Weights | None = None,
) -> BeamSurface:
    """Find the bone surface in an image that is resampled along its beams (see `detect_bone`).

    Args:
        beams: Grey levels.
        coarse: Geometry with the same beams and samples.
        settings: How strictly to look.
        calibration: With this image in it.
        learnt: As in `detect_bone`.
    """
    brightness = calibration.brightness(beams)
    contact = coupled(brightness, settings.contact_level)
    evidence = np.zeros_like(beams)
    learned: LearnedEvidence | None = None
    if settings.kind != "learned":
        ridge = cv2.GaussianBlur(brightness, (0, 0), sigmaX=1.0, sigmaY=1.0)
        evidence += bone_evidence(brightness, ridge, calibration, coarse, settings.evidence)
    if settings.kind in ("learned", "both") or (settings.kind == "adaptive" and learnt):
        learned = _by_network(beams, calibration, coarse, learnt)
        evidence = learned.log_odds + np.maximum(evidence, -CAP)
    never = -CAP - settings.evidence.threshold
    evidence[:, coarse.sample_depths_mm < settings.evidence.min_depth_mm] = never
    evidence[~contact] = never
    path = best_path(evidence, settings.slope_cost * coarse.sample_step_mm, settings.switch_cost)
    if learned is None:
        sample = _brightest_near(ridge, path.index, coarse)
    else:
        sample = learned.mean_near(path.index)
    depth_mm = np.where(path.index >= 0, sample * coarse.sample_step_mm, np.nan)
    return BeamSurface(
        geometry=coarse,
        depth_mm=depth_mm.astype(np.float32),
        confidence=_confidence(evidence, path.index),
        contact=contact,
        source=SurfaceSource.DETECTOR,
    )


def _by_network(
    beams: Beams, calibration: Calibration, coarse: ProbeGeometry, learnt: Weights | None
) -> "LearnedEvidence":
    """Show an image to the network, with the weights from simulation unless labels made others."""
    from us_recon.occupancy.bone_network import trained
    from us_recon.occupancy.learned_evidence import learned_evidence

    return learned_evidence(beams, calibration, coarse, learnt or trained())


class BoneDetector:
    """Detect bone frame by frame and keep the recording's calibration."""

    def __init__(self, settings: BoneDetectorSettings | None = None) -> None:
        self.settings = settings or BoneDetectorSettings()
        self.learnt: Weights | None = None
        """Weights to use in place of the trained ones; None for those."""
        self.reset()

    def __call__(
        self, image: UInt8[np.ndarray, "rows columns"], geometry: ProbeGeometry
    ) -> BeamSurface:
        """Return the bone surface in the next image of the recording."""
        if geometry != self.geometry:
            self.reset()
        surface, calibration = detect_bone(
            image, geometry, self.settings, self.calibration, self.learnt
        )
        self.resume(geometry, calibration)
        return surface

    def compared(
        self,
        image: UInt8[np.ndarray, "rows columns"],
        geometry: ProbeGeometry,
        weights: Weights,
    ) -> tuple[BeamSurface, BeamSurface]:
        """Return what the rule alone and what both find in the next image of the recording."""
        before = self.calibration if geometry == self.geometry else None
        by_rule, by_both = (
            detect_bone(image, geometry, replace(self.settings, kind=kind), before, weights)[0]
            for kind in ("ridge", "both")
        )
        return by_rule, by_both

    def reset(self) -> None:
        """Forget the calibration, as before the first frame."""
        self.geometry: ProbeGeometry | None = None
        self.calibration: Calibration | None = None

    def resume(self, geometry: ProbeGeometry, calibration: Calibration) -> None:
        """Go on from a calibration that was made with images of this geometry."""
        self.geometry, self.calibration = geometry, calibration


def _confidence(
    evidence: Beams, index: Int64[np.ndarray, " beams"]
) -> Float32[np.ndarray, " beams"]:
    """Read the evidence as log-odds of bone; a stretch that was bridged counts less than half."""
    at_surface = evidence[np.arange(len(index)), index]
    return np.where(index >= 0, 1 / (1 + np.exp(-at_surface)), 0).astype(np.float32)


def _brightest_near(
    ridge: Beams, index: Int64[np.ndarray, " beams"], geometry: ProbeGeometry
) -> Float32[np.ndarray, " beams"]:
    """Return the sample of the brightest echo near each given one, to a part of a sample."""
    reach = round(_REFINE_MM / geometry.sample_step_mm)
    near = np.clip(index[:, None] + np.arange(-reach, reach + 1), 1, ridge.shape[1] - 2)
    beam = np.arange(len(index))
    peak = near[beam, ridge[beam[:, None], near].argmax(axis=1)]
    before, at, after = (ridge[beam, peak + offset] for offset in (-1, 0, 1))
    bend = np.minimum(before - 2.0 * at + after, -1e-6)  # the vertex of a parabola through three
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return (peak + shift).astype(np.float32)
