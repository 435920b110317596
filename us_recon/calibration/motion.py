"""Latency from motion: what changes in the images must change when the probe moves.

Between two images a fraction of a second apart, three things are measured: how far they decorrelate
(which grows with the square of any displacement, as speckle and structure do; Chen et al.,
"Determination of scan-plane motion using speckle decorrelation", IEEE Trans. UFFC 44, 1997) and how
far they shift laterally and axially. Each is explained by how the poses say that the image plane
moved, for every latency in question; the latency that explains best is the answer.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64
from scipy.optimize import nnls

from us_recon.calibration.recording import PIXEL_MM, PoseTrack, Recording

SPAN_S = 0.1
"""Time between the two images that are compared."""
LEAST_CORRELATION = 0.1
"""Below it, images have nothing in common any more and tell nothing of how far they moved."""
MAXIMUM_SHIFT_MM = 8.0
PROBES = 5
"""Points along each axis of the image at which its movement is taken."""


@dataclass(frozen=True, eq=False)
class ImageMotion:
    """What moved between two images, for every pair.

    Attributes:
        pairs_s: Times of the first and the second image.
        decorrelation: Minus the logarithm of their correlation.
        shift_mm: Lateral and axial shift of the content from the first to the second.
        points_mm: Points of the image, in the transducer, whose movement explains it.
    """

    pairs_s: Float64[np.ndarray, "pairs 2"]
    decorrelation: Float64[np.ndarray, " pairs"]
    shift_mm: Float64[np.ndarray, "pairs 2"]
    points_mm: Float64[np.ndarray, "points 3"]


@dataclass(frozen=True, eq=False)
class PoseMotion:
    """How the poses say that image points moved between two images.

    Attributes:
        square_mm2: Mean square along the lateral, the axial and the elevational axis.
        shift_mm: Mean lateral and axial shift of what the image shows.
    """

    square_mm2: Float64[np.ndarray, "pairs 3"]
    shift_mm: Float64[np.ndarray, "pairs 2"]


def image_motion(recording: Recording) -> ImageMotion:
    """Measure decorrelation and shift of images `SPAN_S` apart."""
    lag = max(1, round(SPAN_S / recording.image_period_s))
    first, second = recording.images[:-lag], recording.images[lag:]
    times_s = np.column_stack([recording.times_s[:-lag], recording.times_s[lag:]])
    together = times_s[:, 1] - times_s[:, 0] < 2.0 * max(SPAN_S, recording.image_period_s)
    rows, columns = recording.inside.shape
    window = cv2.createHanningWindow((columns, rows), cv2.CV_32F)
    correlation = np.empty(len(first))
    shift_mm = np.empty((len(first), 2))
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        power = float((a * a).sum()) * float((b * b).sum())
        correlation[number] = float((a * b).sum()) / max(np.sqrt(power), 1e-6)
        found, _ = cv2.phaseCorrelate(a, b, window)
        shift_mm[number] = np.clip(np.array(found) * PIXEL_MM, -MAXIMUM_SHIFT_MM, MAXIMUM_SHIFT_MM)
    decorrelation = -np.log(np.clip(correlation, LEAST_CORRELATION, 1.0))
    spots = recording.points_mm[recording.inside]
    low, high = np.percentile(spots, [10.0, 90.0], axis=0)
    axes = [np.linspace(a, b, PROBES) for a, b in zip(low, high, strict=True)]
    lateral, axial = (grid.ravel() for grid in np.meshgrid(*axes))
    points_mm = np.column_stack([lateral, axial, np.zeros(PROBES**2)])
    return ImageMotion(times_s[together], decorrelation[together], shift_mm[together], points_mm)


def pose_motion(
    track: PoseTrack, motion: ImageMotion, latency_s: float
) -> tuple[PoseMotion, Float64[np.ndarray, " pairs"]]:
    """Return how the image points moved, if images were taken `latency_s` before their stamps.

    Returns:
        The movement, and per pair 1 where it is known and 0 where not.
    """
    (T_first, known_first), (T_second, known_second) = (
        track.at(times_s - latency_s) for times_s in motion.pairs_s.T
    )
    T_second_first = np.linalg.inv(T_second) @ T_first
    moved = T_second_first[:, :3, :3] @ motion.points_mm.T + T_second_first[:, :3, 3:]
    step_mm = moved - motion.points_mm.T
    square_mm2 = (step_mm**2).mean(axis=2)
    known = (known_first & known_second).astype(np.float64)
    return PoseMotion(square_mm2, step_mm[:, :2].mean(axis=2)), known


def unexplained(
    motion: ImageMotion, poses: PoseMotion, weight: Float64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, "3"]:
    """Return the share of variance that poses leave unexplained: decorrelation, lateral, axial."""
    left = np.ones(3)
    columns = np.column_stack([poses.square_mm2, np.ones(len(weight))])
    measured = motion.decorrelation
    error = measured - columns @ expected_decorrelation(motion, poses, weight)
    mean = float(weight @ measured) / max(float(weight.sum()), 1.0)
    left[0] = float(weight @ error**2) / max(float(weight @ (measured - mean) ** 2), 1e-12)
    for axis in (0, 1):
        left[1 + axis] = 1.0 - _signed_share(
            motion.shift_mm[:, axis], poses.shift_mm[:, axis], weight
        )
    return np.clip(left, 1e-6, 1.0)


def expected_decorrelation(
    motion: ImageMotion, poses: PoseMotion, weight: Float64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, "4"]:
    """Return what a square millimetre along each axis adds to the decorrelation, and the rest."""
    root = np.sqrt(weight)
    columns = np.column_stack([poses.square_mm2, np.ones(len(root))])
    found, _ = nnls(root[:, None] * columns, root * motion.decorrelation)
    return np.asarray(found)


def _signed_share(
    a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"], weight: Float64[np.ndarray, " n"]
) -> float:
    """Return the squared correlation where it is positive, else 0."""
    r = weighted_correlation(a, b, weight)
    return max(r, 0.0) ** 2


def weighted_correlation(
    a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"], weight: Float64[np.ndarray, " n"]
) -> float:
    """Return the correlation of two signals; 0 where one of them does not change."""
    total = max(float(weight.sum()), 1e-9)
    a = a - float(weight @ a) / total
    b = b - float(weight @ b) / total
    power = float(weight @ a**2) * float(weight @ b**2)
    return float(weight @ (a * b)) / np.sqrt(power) if power > 1e-12 else 0.0
