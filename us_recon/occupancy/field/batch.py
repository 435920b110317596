"""What one step of the fit looks at: scanlines, and points at which occupancy is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from us_recon.occupancy.field.labels import (
    BEHIND_MM,
    DepthSamples,
    balanced_samples,
    region_samples,
)
from us_recon.occupancy.field.replay import BeamPicks, Replay
from us_recon.occupancy.field.settings import FieldSettings

Lines = Float32[np.ndarray, "lines samples"]
PointValues = Float32[np.ndarray, " points"]

_NEWEST_LINES, _NEWEST_LABELS = 0.5, 0.25  # shares that are drawn from the newest frame
_CROSSING = 0.5  # share of beams that pass through a target, of those with a label
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
    replay: Replay, settings: FieldSettings, random: np.random.Generator, *, settling: bool = False
) -> Batch | None:
    """Draw half of the scanlines from the newest frame, the rest from all frames held.

    Args:
        replay: The frames.
        settings: How many of each are drawn.
        random: Source of the choices.
        settling: No frame is new any more: all count alike.

    Returns:
        The data of one step; None where no frame drawn has contact.
    """
    newest = 0.0 if settling else 1.0
    picks = _drawn(replay, settings.beams_per_step, newest * _NEWEST_LINES, random)
    if len(picks.frame) == 0:
        return None
    depths_mm = replay.lines.depths_mm
    shape = (len(picks.frame), len(depths_mm))
    points = picks.points_mm(np.broadcast_to(depths_mm, shape)).reshape(-1, 3)
    line_label, line_weight = _line_labels(replay, picks, settings)
    known, occupied, weight = _known_points(replay, settings, random, newest * _NEWEST_LABELS)
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
    replay: Replay, settings: FieldSettings, random: np.random.Generator, newest: float
) -> tuple[Float32[np.ndarray, "points 3"], PointValues, PointValues]:
    """Return points at which occupancy is known, what it is, and how much that counts.

    Of surfaces, a share `newest` is drawn from the newest frame.
    """
    unlabelled = settings.sound_passes and not replay["labelled"].any()
    if settings.label_loss != "balanced" or unlabelled:
        nothing = np.zeros(0, np.float32)
        return np.zeros((0, 3), np.float32), nothing, nothing
    picks, samples = (
        _of_regions(replay, settings, random)
        if settings.sound_passes
        else _of_surfaces(replay, settings, random, newest)
    )
    known = samples.weight > 0
    share = np.float32(1 / max(known.size, 1))
    points = picks.points_mm(samples.depth_mm)[known]
    return points, samples.occupied[known], share * samples.weight[known]


def _of_surfaces(
    replay: Replay, settings: FieldSettings, random: np.random.Generator, newest: float
) -> tuple[BeamPicks, DepthSamples]:
    picks = _drawn(replay, settings.labels_per_step, newest, random)
    samples = balanced_samples(
        replay["depth_mm"][picks.frame, picks.beam],
        _trust(replay, picks, settings),
        replay["labelled"][picks.frame],
        _FREE_TO * float(replay.lines.depths_mm[-1]),
        random.random((len(picks.frame), 3), np.float32),
    )
    return picks, samples


def _of_regions(
    replay: Replay, settings: FieldSettings, random: np.random.Generator
) -> tuple[BeamPicks, DepthSamples]:
    """Draw half of the beams from those that cross the target, which are few, and half from all."""
    labelled = np.flatnonzero(replay["labelled"])
    frame = labelled[random.integers(len(labelled), size=settings.labels_per_step)]
    beam = random.integers(replay["depth_mm"].shape[1], size=len(frame))
    within, crossing = np.nonzero(np.isfinite(replay["depth_mm"][labelled]))
    if len(crossing):
        some = random.integers(len(crossing), size=round(_CROSSING * len(frame)))
        frame[: len(some)], beam[: len(some)] = labelled[within[some]], crossing[some]
    outside_mm = replay["outside_mm"][frame, beam].astype(np.float32)
    chance = random.random((len(frame), 4), np.float32)
    return replay.beams(frame, beam), region_samples(outside_mm, replay.lines.depths_mm, chance)


def _line_labels(replay: Replay, picks: BeamPicks, settings: FieldSettings) -> tuple[Lines, Lines]:
    if settings.sound_passes:
        return _region_labels(replay, picks)
    surface_mm = replay["depth_mm"][picks.frame, picks.beam][:, None]
    behind_mm = replay.lines.depths_mm - surface_mm
    occupied = (behind_mm >= 0) & (behind_mm <= BEHIND_MM)  # NaN, no surface: false
    known = np.isfinite(surface_mm) | replay["labelled"][picks.frame][:, None]
    weight = np.where(known, _trust(replay, picks, settings)[:, None], 0)
    share = np.broadcast_to(weight / occupied.size, occupied.shape)
    return occupied.astype(np.float32), share.astype(np.float32)


def _region_labels(replay: Replay, picks: BeamPicks) -> tuple[Lines, Lines]:
    outside_mm = replay["outside_mm"][picks.frame, picks.beam].astype(np.float32)
    known = np.isfinite(outside_mm) & replay["labelled"][picks.frame][:, None]
    inside = outside_mm < 0
    return inside.astype(np.float32), (known / np.float32(max(known.size, 1))).astype(np.float32)
