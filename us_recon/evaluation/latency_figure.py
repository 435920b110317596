"""A picture of a latency: what moved in images and poses, before and after it is taken off."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from us_recon.calibration.latency import LatencyEstimate
from us_recon.calibration.motion import (
    expected_decorrelation,
    image_motion,
    pose_motion,
    weighted_correlation,
)
from us_recon.calibration.recording import Recording
from us_recon.files import atomic_path

IMAGES_COLOUR, POSES_COLOUR = "#d9822b", "#2f6db3"
CURVE_COLOURS = {"motion": "#8a5fa8", "agreement": "#3a8f5c"}
SHOWN_S = 8.0
"""More seconds are too dense to see an offset of some hundredths."""


def draw_latency(path: Path, recording: Recording, estimate: LatencyEstimate) -> None:
    """Write a PNG: image and pose motion over time, with and without the latency, and scores.

    Args:
        path: The picture; it is written whole or not at all.
        recording: Images and poses.
        estimate: The latency; if it is unknown, only the motion as recorded is shown.
    """
    figure = Figure(figsize=(9.0, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    before, after, curves = figure.subplots(3, 1)
    latency_s = estimate.latency_s if estimate.known else 0.0
    motion = image_motion(recording)
    best, known = pose_motion(recording.track, motion, latency_s)
    growth = expected_decorrelation(motion, best, known)
    times_s = motion.pairs_s.mean(axis=1)
    measured = np.sqrt(motion.decorrelation)
    for axes, at_s, title in (
        (before, 0.0, "as recorded"),
        (after, latency_s, f"image latency of {1000.0 * latency_s:.1f} ms taken off"),
    ):
        poses, known = pose_motion(recording.track, motion, at_s)
        expected = np.sqrt(np.column_stack([poses.square_mm2, np.ones(len(known))]) @ growth)
        agreement = weighted_correlation(measured, expected, known)
        _draw_signals(axes, times_s, measured, np.where(known > 0.0, expected, np.nan))
        axes.set_title(f"{title}: correlation {agreement:.2f}", fontsize=11)
    if not estimate.known:
        after.set_title("latency unknown: nothing taken off", fontsize=11)
    for each in estimate.evidence:
        colour = CURVE_COLOURS[each.method]
        unused = f" (not used: {each.doubt})" if each.doubt else ""
        curves.plot(
            1000.0 * each.latencies_s, each.scores, color=colour, label=each.method + unused
        )
        if not each.doubt:
            curves.axvline(1000.0 * each.latency_s, color=colour, linewidth=0.8, linestyle="--")
    curves.set_xlabel("latency of the images / ms")
    curves.set_ylabel("images explained")
    curves.set_ylim(0.0, 1.0)
    curves.legend(loc="lower left", fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _draw_signals(
    axes: Axes,
    times_s: Float64[np.ndarray, " n"],
    measured: Float64[np.ndarray, " n"],
    expected: Float64[np.ndarray, " n"],
) -> None:
    axes.plot(times_s, measured, color=IMAGES_COLOUR, linewidth=1.2, label="change of the images")
    axes.plot(times_s, expected, color=POSES_COLOUR, linewidth=1.2, label="motion of the poses")
    middle_s = float(times_s.mean())
    axes.set_xlim(
        max(times_s[0], middle_s - SHOWN_S / 2.0), min(times_s[-1], middle_s + SHOWN_S / 2.0)
    )
    axes.set_xlabel("time / s")
    axes.set_ylabel("change in 0.1 s")
    axes.legend(loc="upper right", fontsize=8)
