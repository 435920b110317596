"""What a recording's grey levels mean: its noise floor, its tissue, and how tissue fades."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams

Beams = Float32[np.ndarray, "beams samples"]

_LONGEST_MEMORY = 20  # frames; gain and coupling drift slowly along a sweep
_NEAR_FIELD_MM = 4.0  # ringing and gel, not tissue
_HIGHEST_FLOOR = 0.2  # of tissue: an image without shadow does not show its noise floor
UPPER_SHARE = 0.6  # of a beam: below it a beam with contact may be dark for good reason
_FAINTEST = 0.25  # of tissue, at the lower end of the image


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a recording's brightness means, learnt from the frames seen so far.

    Attributes:
        frames: Frames that went in.
        floor: Grey level of the noise floor.
        tissue: Grey levels of typical tissue above the floor.
        by_depth: Brightness that tissue reaches at each depth, in units of `tissue`.
    """

    frames: int
    floor: float
    tissue: float
    by_depth: Float32[np.ndarray, " samples"]

    def brightness(self, beams: Beams) -> Beams:
        """Return grey levels above the noise floor in units of typical tissue, 0 or more."""
        scaled = (beams - np.float32(self.floor)) / np.float32(self.tissue)
        return np.asarray(np.maximum(scaled, 0), dtype=np.float32)

    @property
    def usual(self) -> Float32[np.ndarray, "1 samples"]:
        """Brightness to expect of tissue at each depth, in units of `tissue`.

        Where bone fills the image, its shadow must not become the reference: the expectation fades
        no faster than evenly, to a quarter at the lower end.
        """
        fading = np.linspace(1.0, _FAINTEST, len(self.by_depth), dtype=np.float32)
        return np.maximum(self.by_depth, fading)[None]


def calibrate(beams: Beams, step_mm: float, before: Calibration | None) -> Calibration:
    """Take one more frame into the calibration.

    The result depends on the frames and their order alone, so a replay repeats it.

    Args:
        beams: Grey levels in beam space.
        step_mm: Distance between two samples.
        before: Calibration after the frame before; None for the first frame.
    """
    half = max(beams.shape[1] // 2, 1)
    shallow = beams[:, min(round(_NEAR_FIELD_MM / step_mm), half - 1) : half]
    typical = float(np.percentile(shallow, 80))
    floor = min(float(np.percentile(beams[:, half:], 2)), _HIGHEST_FLOOR * typical)
    tissue = max(typical - floor, 1.0)
    by_depth = (np.percentile(beams, 75, axis=0) - floor).astype(np.float32) / np.float32(tissue)
    if before is None:
        return Calibration(1, floor, tissue, by_depth)
    share = max(1.0 / (before.frames + 1), 1.0 / _LONGEST_MEMORY)
    return Calibration(
        frames=before.frames + 1,
        floor=before.floor + share * (floor - before.floor),
        tissue=before.tissue + share * (tissue - before.tissue),
        by_depth=before.by_depth + np.float32(share) * (by_depth - before.by_depth),
    )


@lru_cache(maxsize=16)
def coarse_geometry(geometry: ProbeGeometry, beams: int, step_mm: float) -> ProbeGeometry:
    """Return the same probe with `beams` beams and a sample about every `step_mm`."""
    samples = max(round(geometry.depth_mm / step_mm) + 1, 2)
    return replace(geometry, beam_count=beams, sample_count=samples)


def coarse_beams(
    image: UInt8[np.ndarray, "rows columns"], geometry: ProbeGeometry, coarse: ProbeGeometry
) -> Beams:
    """Resample along the coarse beams, averaging the pixels that one sample stands for."""
    columns = max(1, round(geometry.width_px / coarse.beam_count))
    rows = max(1, round(coarse.sample_step_mm / geometry.spacing_y_mm))
    return to_beams(cv2.blur(image, (columns, rows)), coarse)


def coupled(brightness: Beams, level: float) -> Bool[np.ndarray, " beams"]:
    """Return the beams that carry sound into the body.

    Args:
        brightness: In units of tissue.
        level: Mean brightness of a beam with contact over its upper part, in the same units.
    """
    upper = brightness[:, : max(1, round(brightness.shape[1] * UPPER_SHARE))]
    return np.asarray(upper.mean(axis=1) > level)


class WindowMeans:
    """Means over depth windows relative to each sample, cut off at the ends of the beam."""

    def __init__(self, beams: Shaped[np.ndarray, "beams samples"], step_mm: float) -> None:
        self.step_mm = step_mm
        self.sums = np.zeros((beams.shape[0], beams.shape[1] + 1))
        np.cumsum(beams, axis=1, dtype=np.float64, out=self.sums[:, 1:])

    def __call__(self, low_mm: float, high_mm: float) -> Beams:
        """Return the mean from `low_mm` to `high_mm` below each sample (negative: above)."""
        samples = self.sums.shape[1] - 1
        here = np.arange(samples)
        # A window wholly off the beam falls back on the outermost sample.
        first = np.clip(here + round(low_mm / self.step_mm), 0, samples - 1)
        last = np.clip(here + round(high_mm / self.step_mm), 0, samples - 1) + 1
        mean = (self.sums[:, last] - self.sums[:, first]) / (last - first)
        return np.asarray(mean, dtype=np.float32)
