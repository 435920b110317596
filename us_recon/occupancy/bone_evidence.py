"""How much each sample of a beam looks like the surface of bone.

Bone reflects nearly everything: its echo is bright and what lies below it is dark (Jain and
Taylor 2004; Foroughi et al. 2007; Hacihaliloglu 2017 reviews them). Each measure below excludes
something that shares one of these traits: fascia is as bright but has tissue below; muscle
darkens with depth but without an edge; a reverberation has an edge, but within a shadow that
began above it and at twice the depth of the bone that made it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.brightness import Beams, Calibration, WindowMeans
from us_recon.settings import setting


@dataclass(frozen=True)
class BoneEvidenceSettings:
    """What counts as bone."""

    threshold: float = setting(
        1.8, "Sum of the weighted measures that bone needs", minimum=0.0, maximum=10.0
    )
    edge_weight: float = setting(
        1.0, "Weight of the drop in brightness (log ratio)", minimum=0.0, maximum=10.0
    )
    ridge_weight: float = setting(
        0.8, "Weight of the ridge above its surroundings", minimum=0.0, maximum=10.0
    )
    shadow_weight: float = setting(
        1.0, "Weight of the shadow that begins here", minimum=0.0, maximum=10.0
    )
    last_weight: float = setting(
        0.6, "Weight of being the last strong echo (log ratio)", minimum=0.0, maximum=10.0
    )
    first_weight: float = setting(
        1.0, "Share of the evidence above that speaks against", minimum=0.0, maximum=10.0
    )
    multiple_weight: float = setting(
        1.0, "Share of the evidence at half the depth that speaks against", minimum=0.0, maximum=10
    )
    shadow_mm: float = setting(
        30.0, "Length of the shadow looked at", unit="mm", minimum=2.0, maximum=200.0
    )
    min_depth_mm: float = setting(
        4.0, "No bone above this depth", unit="mm", minimum=0.0, maximum=200.0
    )


CAP = 3.0  # one beam, however bright, must not outvote its neighbours
_SOFT = np.float32(0.1)  # of tissue: keeps ratios finite in the noise floor
_HALF_ECHO_MM = 0.3
_BEHIND_ECHO_MM = 1.0  # the echo itself is about this long
_EDGE_MM = 9.0
_LEAST_SHADOW_MM = 3.0  # below the surface, or there is nothing to see a shadow in
_CLEAR_SHADOW = np.float32(0.2)  # of tissue: a shadow that is one beyond doubt
_BONE_LIKE = np.float32(0.7)  # below the threshold by less than this can still make multiples


def bone_evidence(
    brightness: Beams,
    ridge: Beams,
    calibration: Calibration,
    geometry: ProbeGeometry,
    settings: BoneEvidenceSettings,
) -> Beams:
    """Return the evidence for bone at each sample, above 0 where it outweighs the threshold.

    Args:
        brightness: (beams, samples) in units of tissue, see `Calibration.brightness`.
        ridge: The same, smoothed to the width of an echo.
        calibration: Of the recording.
        geometry: Geometry with the same beams and samples.
        settings: Weights and threshold.
    """
    step_mm = geometry.sample_step_mm
    # Smoothed across the beams only: the depth of an edge must stay.
    across = WindowMeans(cv2.GaussianBlur(brightness, (1, 0), sigmaX=1e-3, sigmaY=1.5), step_mm)
    echo = WindowMeans(ridge, step_mm)
    usual = WindowMeans(calibration.usual, step_mm)
    shadow = _shadow_onset(across, usual, settings.shadow_mm)
    bright = (
        settings.edge_weight * np.clip(_edge(across), -1.0, 2.0)
        + settings.ridge_weight * np.clip(_ridge(echo), -1.0, 2.0)
        + settings.last_weight * np.clip(_last_echo(echo), -1.0, 2.0)
    )
    # However bright an echo is, without a shadow it is no bone.
    bright = np.where(bright > 0, bright * np.clip(shadow / _CLEAR_SHADOW, 0, 1), bright)
    evidence = bright + settings.shadow_weight * shadow - settings.threshold
    evidence = evidence - settings.first_weight * _earlier(evidence, step_mm)
    evidence = evidence - settings.multiple_weight * _at_half_depth(evidence, step_mm)
    evidence = np.minimum(evidence, CAP).astype(np.float32)
    depths_mm = geometry.sample_depths_mm
    deepest_mm = geometry.depth_mm - _LEAST_SHADOW_MM
    looked_at = (depths_mm >= settings.min_depth_mm) & (depths_mm <= deepest_mm)
    evidence[:, ~looked_at] = -settings.threshold - CAP
    return evidence


def _edge(across: WindowMeans) -> Beams:
    """Log ratio of the echo to what follows it."""
    behind = across(_BEHIND_ECHO_MM, _EDGE_MM)
    return np.log((across(-0.6, _HALF_ECHO_MM) + _SOFT) / (behind + _SOFT))


def _ridge(echo: WindowMeans) -> Beams:
    """Height of the echo above its surroundings."""
    around = np.float32(0.5) * (echo(-2.5, -1.0) + echo(1.0, 2.5))
    return echo(-0.2, 0.2) - around


def _shadow_onset(across: WindowMeans, usual: WindowMeans, shadow_mm: float) -> Beams:
    """How far the beam darkens here, against what this recording shows at the same depths.

    Clutter may fill the shadow's beginning or its end: the darker of its first half and the whole
    counts.
    """
    before = np.minimum(across(-8.0, -1.0) / usual(-8.0, -1.0), 1)
    lengths_mm = (0.5 * shadow_mm, shadow_mm)
    after = [across(1.5, length) / usual(1.5, length) for length in lengths_mm]
    return before - np.minimum(np.minimum(*after), 2)


def _last_echo(echo: WindowMeans) -> Beams:
    """Log ratio of the echo to the strongest one below it."""
    strength = echo(-0.2, 0.2)
    ahead = max(1, round(1.5 / echo.step_mm))
    strongest_from = np.maximum.accumulate(strength[:, ::-1], axis=1)[:, ::-1]
    below = np.pad(strongest_from[:, ahead:], ((0, 0), (0, ahead)), mode="edge")
    return np.log((strength + _SOFT) / (below[:, : strength.shape[1]] + _SOFT))


def _earlier(evidence: Beams, step_mm: float) -> Beams:
    """Best evidence above each sample: nothing real returns from behind bone.

    An echo must also stand on the neighbouring beams to count.
    """
    lasting = cv2.erode(np.maximum(evidence, 0).astype(np.float32), np.ones((3, 1), np.uint8))
    best = np.maximum.accumulate(lasting, axis=1)
    ahead = max(1, round(2.0 / step_mm))
    return np.pad(best, ((0, 0), (ahead, 0)))[:, : evidence.shape[1]]


def _at_half_depth(evidence: Beams, step_mm: float) -> Beams:
    """Bone-like evidence at half the depth: sound that went twice between probe and bone."""
    bone_like = np.clip(evidence + _BONE_LIKE, 0, 2).astype(np.float32)
    window = 2 * round(0.8 / step_mm) + 1
    nearby = cv2.dilate(bone_like, np.ones((1, window), np.uint8))
    return np.asarray(nearby[:, np.arange(evidence.shape[1]) // 2])
