"""What one step of the fit looks at: scanlines, and points at which occupancy is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from us_recon.occupancy.field.labels import BEHIND_MM, balanced_samples
from us_recon.occupancy.field.replay import BeamPicks, Replay
from us_recon.occupancy.field.settings import FieldSettings

Lines = Float32[np.ndarray, "lines samples"]
PointValues = Float32[np.ndarray, " points"]

_NEWEST_LINES, _NEWEST_LABELS = 0.5, 0.25  # shares that are drawn from the newest frame
_FREE_TO = 0.8  # of the imaged depth, on beams of labelled frames that show no surface


@dataclass(frozen=True, eq=False)
class Batch:
    """Data of one step.

    Attributes:
        picks: The beams whose image is explained.
        points_mm: All points: those of the scanlines, beam by beam, then those of the labels.
        brightness: What the image shows along the scanlines, in units of tissue.
        gain: Brightness that tissue reaches there.
        step_mm: Distance between samples.
        line_label: Label at each sample of the scanlines.
        line_weight: How much it counts; 0 where nothing is known.
        occupied: What is known at the labels' points, 0 or 1.
        weight: How much that counts, summing to at most 1.
    """

    picks: BeamPicks
    points_mm: Float32[np.ndarray, "all 3"]
    brightness: Lines
    gain: Lines
    step_mm: float
    line_label: Lines
    line_weight: Lines
    occupied: PointValues
    weight: PointValues


def draw_batch(
    replay: Replay, settings: FieldSettings, random: np.random.Generator
) -> Batch | None:
    """Draw half of the scanlines from the newest frame, the rest from all frames held.

    Returns:
        The data of one step; None where no frame drawn has contact.
    """
    picks = _drawn(replay, settings.beams_per_step, _NEWEST_LINES, random)
    if len(picks.frame) == 0:
        return None
    depths_mm = replay.lines.depths_mm
    shape = (len(picks.frame), len(depths_mm))
    points = picks.points_mm(np.broadcast_to(depths_mm, shape)).reshape(-1, 3)
    line_label, line_weight = _line_labels(replay, picks, settings)
    known, occupied, weight = _known_points(replay, settings, random)
    return Batch(
        picks=picks,
        points_mm=np.concatenate([points, known]),
        brightness=replay.brightness(picks),
        gain=replay["gain"][picks.frame],
        step_mm=replay.lines.step_mm,
        line_label=line_label,
        line_weight=line_weight,
        occupied=occupied,
        weight=weight,
    )


def _drawn(replay: Replay, count: int, newest: float, random: np.random.Generator) -> BeamPicks:
    frame = random.integers(replay.count, size=count)
    frame[: round(newest * count)] = replay.count - 1
    return replay.pick(frame, random.random(count, np.float32))


def _trust(
    replay: Replay, picks: BeamPicks, settings: FieldSettings
) -> Float32[np.ndarray, " lines"]:
    """Return how much the surface of each beam counts."""
    labelled = replay["labelled"][picks.frame]
    confidence = replay["confidence"][picks.frame, picks.beam]
    detected = np.float32(settings.detector_weight) * confidence
    return np.where(labelled, np.float32(1), detected).astype(np.float32)


def _known_points(
    replay: Replay, settings: FieldSettings, random: np.random.Generator
) -> tuple[Float32[np.ndarray, "points 3"], PointValues, PointValues]:
    """Return points at which occupancy is known, what it is, and how much that counts."""
    if settings.label_loss != "balanced":
        nothing = np.zeros(0, np.float32)
        return np.zeros((0, 3), np.float32), nothing, nothing
    picks = _drawn(replay, settings.labels_per_step, _NEWEST_LABELS, random)
    count = len(picks.frame)
    samples = balanced_samples(
        replay["depth_mm"][picks.frame, picks.beam],
        _trust(replay, picks, settings),
        replay["labelled"][picks.frame],
        _FREE_TO * float(replay.lines.depths_mm[-1]),
        random.random((count, 3), np.float32),
    )
    known = samples.weight > 0
    share = np.float32(1 / max(3 * count, 1))
    points = picks.points_mm(samples.depth_mm)[known]
    return points, samples.occupied[known], share * samples.weight[known]


def _line_labels(replay: Replay, picks: BeamPicks, settings: FieldSettings) -> tuple[Lines, Lines]:
    surface_mm = replay["depth_mm"][picks.frame, picks.beam][:, None]
    behind_mm = replay.lines.depths_mm - surface_mm
    occupied = (behind_mm >= 0) & (behind_mm <= BEHIND_MM)  # NaN, no surface: false
    known = np.isfinite(surface_mm) | replay["labelled"][picks.frame][:, None]
    weight = np.where(known, _trust(replay, picks, settings)[:, None], 0)
    share = np.broadcast_to(weight / occupied.size, occupied.shape)
    return occupied.astype(np.float32), share.astype(np.float32)
