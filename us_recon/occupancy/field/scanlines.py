"""One frame as the field sees it: scanlines with brightness, contact and the surface, if known."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, UInt8

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams
from us_recon.occupancy.brightness import (
    UPPER_SHARE,
    Beams,
    Calibration,
    calibrate,
    coarse_beams,
    coarse_geometry,
)
from us_recon.occupancy.region import LabelledRegion, Shown
from us_recon.occupancy.surface import SurfaceSource

BEAMS = 128
STEP_MM = 0.5
START_MM = 2.5  # ringing of the probe; no tissue above
_SMOOTH_GAIN = 6.0  # samples
_QUANTILE_TO_MEAN = 0.9  # the calibration knows the 75th percentile of speckle
_LEAST_GAIN, _MOST_GAIN = 0.05, 1.5
_CONTACT_LEVEL = 0.15
_COUPLED_LEVEL = 0.5  # of tissue, mean over the first part of a beam
_COUPLED_MM = (4.0, 20.0)
_ECHO_MM = 1.0  # how far a surface's echo reaches below it
_STEEPEST_MM = 1.0  # from beam to beam; beyond, another surface begins
_RIM = 3  # beams beside those without coupling are dim too


@dataclass(frozen=True, eq=False)
class Scanlines:
    """One frame, ready to be fitted.

    Attributes:
        grey: Grey levels; sample n lies `first + n` steps below the face.
        floor: Grey level of the noise floor.
        tissue: Grey levels of typical tissue above the floor.
        gain: Brightness of tissue at each depth, in units of `tissue`.
        T_world_transducer: Pose of the array face.
        depth_mm: Depth of the surface on each beam, NaN where none is known.
        confidence: Of that, 0 to 1.
        contact: Beams that carry sound into the body.
        labelled: Whether the surface comes from a label; it then also tells where there is none.
        outside_mm: Of a target that sound passes, distance of each sample to its wall in the image
            plane, below 0 inside and NaN where nobody could tell; None where there is no label.
    """

    grey: UInt8[np.ndarray, "beams samples"]
    floor: float
    tissue: float
    gain: Float32[np.ndarray, " samples"]
    T_world_transducer: Float64[np.ndarray, "4 4"]
    depth_mm: Float32[np.ndarray, " beams"]
    confidence: Float32[np.ndarray, " beams"]
    contact: Bool[np.ndarray, " beams"]
    labelled: bool
    outside_mm: Float16[np.ndarray, "beams samples"] | None = None

    @property
    def brightness(self) -> Beams:
        """Brightness above the floor in units of tissue."""
        above = (self.grey.astype(np.float32) - np.float32(self.floor)) / np.float32(self.tissue)
        return np.maximum(above, 0)


@dataclass(frozen=True)
class LineGeometry:
    """Where the samples of scanlines lie in the image plane.

    Attributes:
        geometry: The probe with as many beams as there are scanlines.
        first: Sample of that geometry at which the scanlines begin.
    """

    geometry: ProbeGeometry
    first: int

    @classmethod
    def of(cls, geometry: ProbeGeometry) -> "LineGeometry":
        """Return the scanlines of a probe."""
        lines = coarse_geometry(geometry, BEAMS, STEP_MM)
        return cls(lines, min(round(START_MM / lines.sample_step_mm), lines.sample_count - 2))

    @property
    def step_mm(self) -> float:
        """Distance between samples."""
        return self.geometry.sample_step_mm

    @property
    def depths_mm(self) -> Float32[np.ndarray, " samples"]:
        """Depth of each sample below the face."""
        return self.geometry.sample_depths_mm[self.first :].astype(np.float32)


def scanlines(
    frame: TrackedFrame,
    shown: Shown | None,
    lines: LineGeometry,
    before: Calibration | None,
) -> tuple[Scanlines, Calibration]:
    """Prepare one frame.

    Args:
        frame: The frame; of the size that the lines were made for.
        shown: What is known of the target in it, None for nothing.
        lines: Where the scanlines lie.
        before: Calibration after the frame before.

    Returns:
        The scanlines, and the calibration with this frame in it.
    """
    grey = np.rint(coarse_beams(frame.image, frame.geometry, lines.geometry))
    calibration = calibrate(grey.astype(np.float32), lines.step_mm, before)
    gain = cv2.GaussianBlur(calibration.by_depth[None], (0, 0), _SMOOTH_GAIN)[0]
    gain = np.clip(gain / _QUANTILE_TO_MEAN, _LEAST_GAIN, _MOST_GAIN).astype(np.float32)
    count = lines.geometry.beam_count
    result = Scanlines(
        grey=grey[:, lines.first :].astype(np.uint8),
        floor=calibration.floor,
        tissue=calibration.tissue,
        gain=gain[lines.first :],
        T_world_transducer=frame.T_world_transducer,
        depth_mm=np.full(count, np.nan, np.float32),
        confidence=np.zeros(count, np.float32),
        contact=np.ones(count, bool),
        labelled=shown is not None and shown.source == SurfaceSource.LABEL,
    )
    if isinstance(shown, LabelledRegion):
        result = _with_region(result, shown, lines)
    elif shown is not None:
        depth_mm, confidence = shown.on_beams_of(lines.geometry, jump_mm=_STEEPEST_MM)
        confidence = confidence * np.float32(1.0 if result.labelled else shown.trust)
        result = replace(result, depth_mm=depth_mm, confidence=confidence)
    return replace(result, contact=coupled_beams(result, lines.depths_mm)), calibration


def _with_region(result: Scanlines, region: LabelledRegion, lines: LineGeometry) -> Scanlines:
    """Take over where the target is, and as its surface the wall that each beam meets last."""
    outside_mm = to_beams(region.outside_mm, lines.geometry)[:, lines.first :]
    known = to_beams(region.known, lines.geometry)[:, lines.first :] > 0.5
    outside_mm = np.where(known, outside_mm, np.float32(np.nan)).astype(np.float16)
    inside = outside_mm < 0  # NaN: false
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    crossed = inside.any(axis=1)
    return replace(
        result,
        depth_mm=np.where(crossed, lines.depths_mm[last], np.float32(np.nan)),
        confidence=np.asarray(crossed, np.float32),
        outside_mm=outside_mm,
    )


def coupled_beams(
    lines: Scanlines, depths_mm: Float32[np.ndarray, " samples"]
) -> Bool[np.ndarray, " beams"]:
    """Return the beams that carry sound into the body.

    Where the edge of the array lifts off, neighbouring beams are dark from their beginning on. A
    dark stretch in the middle is more likely bone just below the skin. Of a beam that shows a
    surface only what lies above it is looked at, and its echo: the shadow tells nothing.
    """
    brightness = lines.brightness
    opaque = np.isfinite(lines.depth_mm) & (lines.outside_mm is None)
    lit = depths_mm <= np.where(opaque, lines.depth_mm + _ECHO_MM, np.inf)[:, None]
    upper = np.arange(len(depths_mm)) < max(1, round(UPPER_SHARE * len(depths_mm)))
    contact = _mean_of(brightness, lit & upper) > _CONTACT_LEVEL
    shallow = (depths_mm >= _COUPLED_MM[0]) & (depths_mm <= _COUPLED_MM[1])
    if not shallow.any():
        return contact
    dark = _mean_of(brightness / lines.gain, lit & shallow) < _COUPLED_LEVEL
    bright = np.flatnonzero(~dark)
    if len(bright) == 0:
        return np.zeros_like(contact)
    lifted = np.zeros_like(contact)
    left, right = bright[0], len(dark) - 1 - bright[-1]
    if left >= _RIM:
        lifted[: left + _RIM] = True
    if right >= _RIM:
        lifted[len(lifted) - right - _RIM :] = True
    return contact & ~(lifted & (dark | np.isnan(lines.depth_mm)))


def _mean_of(
    brightness: Beams, where: Bool[np.ndarray, "beams samples"]
) -> Float32[np.ndarray, " beams"]:
    """Return each beam's mean over some samples: infinite without any, for its echo is above."""
    count = where.sum(axis=1)
    total = np.where(where, brightness, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.inf).astype(np.float32)
