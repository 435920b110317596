"""What a label says of a target that sound passes: where it is, where its wall is and where not."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.ndimage import distance_transform_edt

from us_recon.errors import InputError
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams, to_image
from us_recon.occupancy.brightness import WindowMeans, calibrate
from us_recon.occupancy.surface import BeamSurface, SurfaceSource

_ECHO = 0.1  # of what tissue usually shows at a depth: darker is silence
_ECHO_MM = 2.0  # above and below, over which echoes are looked for


@dataclass(frozen=True, eq=False)
class LabelledRegion:
    """An organ or lesion as one labelled frame shows it.

    Attributes:
        geometry: Of the frame's image.
        outside_mm: Distance in the image plane to the target's wall; below 0 inside the target.
        known: Pixels that the label speaks of: the target, and beside it what sound reached.
        crossing: Beams that pass through the target.
        source: What the region was taken from.
    """

    geometry: ProbeGeometry
    outside_mm: Float32[np.ndarray, "rows columns"]
    known: Bool[np.ndarray, "rows columns"]
    crossing: Bool[np.ndarray, " beams"]
    source: SurfaceSource = SurfaceSource.LABEL

    @property
    def found(self) -> Bool[np.ndarray, " beams"]:
        """Beams on which the target is seen."""
        return self.crossing

    def points_mm(
        self, T_world_transducer: Float64[np.ndarray, "4 4"]
    ) -> Float64[np.ndarray, "points 3"]:
        """Return the pixels just inside the wall in world mm, row by row."""
        geometry = self.geometry
        near_mm = 0.5 * max(geometry.spacing_x_mm, geometry.spacing_y_mm)
        wall = self.known & (self.outside_mm < 0) & (self.outside_mm >= -near_mm)
        plane = geometry.pixels_to_mm(geometry.pixel_grid[wall])
        return transform_points(T_world_transducer, np.column_stack([plane, np.zeros(len(plane))]))


Shown: TypeAlias = BeamSurface | LabelledRegion
"""What one frame shows of a target: its face towards the probe, or all of it."""


def labelled_region(
    label: UInt8[np.ndarray, "rows columns"],
    image: UInt8[np.ndarray, "rows columns"],
    geometry: ProbeGeometry,
) -> LabelledRegion:
    """Return what a label says of an organ or a lesion, in all directions of the image plane.

    The wall lies half way between the last pixel inside and the first one outside. Where nothing
    came back to the probe any more, behind gas, bone or at the end of its reach, a pixel without a
    label is not empty: nobody could tell.

    Args:
        label: 0 background, more than 0 inside the target.
        image: The frame's brightness.
        geometry: Geometry of both.

    Raises:
        InputError: Label or image have another size than the geometry.
    """
    if label.shape != geometry.shape:
        raise InputError(f"label is {label.shape}; the probe geometry describes {geometry.shape}")
    inside = (label > 0) & geometry.fan_mask
    return LabelledRegion(
        geometry=geometry,
        outside_mm=_signed_mm(inside, geometry),
        known=geometry.fan_mask & (inside | _reached(image, geometry)),
        crossing=np.asarray((to_beams(inside, geometry) >= 0.5).any(axis=1)),
    )


def _signed_mm(
    inside: Bool[np.ndarray, "rows columns"], geometry: ProbeGeometry
) -> Float32[np.ndarray, "rows columns"]:
    """Return the distance to the wall, below 0 inside; the image's diagonal where there is none."""
    spacing_mm = (geometry.spacing_y_mm, geometry.spacing_x_mm)
    farthest_mm = float(np.hypot(*np.multiply(spacing_mm, inside.shape)))
    signed = np.full(inside.shape, farthest_mm)
    if inside.any():
        to_target, to_rest = (
            distance_transform_edt(part, sampling=spacing_mm) for part in (~inside, inside)
        )
        half_px_mm = 0.5 * min(spacing_mm)
        signed = np.where(inside, half_px_mm - to_rest, to_target - half_px_mm)
    return signed.astype(np.float32)


def _reached(
    image: UInt8[np.ndarray, "rows columns"], geometry: ProbeGeometry
) -> Bool[np.ndarray, "rows columns"]:
    """Return the pixels down to the deepest echo on their beam."""
    beams = to_beams(image, geometry)
    calibration = calibrate(beams, geometry.sample_step_mm, None)
    level = WindowMeans(calibration.brightness(beams), geometry.sample_step_mm)
    echo = level(-_ECHO_MM, _ECHO_MM) > np.float32(_ECHO) * calibration.usual
    samples = echo.shape[1]
    last = np.where(echo.any(axis=1), samples - 1 - echo[:, ::-1].argmax(axis=1), -1)
    reached = np.arange(samples) <= last[:, None]
    return to_image(reached.astype(np.float32), geometry) > 0.5
