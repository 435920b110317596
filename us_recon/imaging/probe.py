"""The geometry of a probe's image: linear, convex and phased arrays.

The `transducer` frame has its origin at the centre of the array face, x to the marked side
(lateral), y away from the probe (depth) and z = x cross y (elevation). Pixel coordinates are
(column, row) with the centre of the first pixel at (0, 0). Everything here describes the image in
MF orientation: columns run to the marked side, rows run away from the probe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import ceil, cos, isfinite, radians, sin
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from us_recon.errors import InputError
from us_recon.imaging.orientation import check_orientation


class ProbeKind(StrEnum):
    """How the beams of an array leave it."""

    LINEAR = "linear"
    CONVEX = "convex"
    PHASED = "phased"


@dataclass(frozen=True)
class ProbeGeometry:
    """Where every pixel and every beam of a B-mode image lies in the transducer frame.

    Attributes:
        kind: Linear: parallel beams from a flat face. Convex: beams normal to a curved face of
            radius `radius_mm`. Phased: beams from one point at the face.
        width_px: Columns of the image.
        height_px: Rows of the image.
        spacing_x_mm: Pixel pitch along a row.
        spacing_y_mm: Pixel pitch along a column, measured along the depth axis.
        origin_x_px: Column of the centre of the array face.
        origin_y_px: Row of the centre of the array face.
        depth_mm: Imaged depth, measured along a beam from the face.
        width_mm: Aperture of a linear array.
        radius_mm: Radius of curvature of a convex array's face.
        angle_min_deg: First beam of a sector, 0 straight down, positive to the marked side.
        angle_max_deg: Last beam of a sector.
        beam_count: Beams of the beam-space image.
        sample_count: Samples along each beam, the first on the face, the last at `depth_mm`.
        skew_mm: Lateral shift per row, 0 for rectangular pixels. A calibration that was fitted as
            an affine map (as PLUS's ImageToProbe often is) is kept exactly with it.
        orientation: Orientation code of the image as it arrives (see `orientation`).
        centre_frequency_mhz: Centre frequency of the pulse; 0 where unknown.
    """

    kind: ProbeKind
    width_px: int
    height_px: int
    spacing_x_mm: float
    spacing_y_mm: float
    origin_x_px: float
    origin_y_px: float
    depth_mm: float
    width_mm: float = 0.0
    radius_mm: float = 0.0
    angle_min_deg: float = 0.0
    angle_max_deg: float = 0.0
    beam_count: int = 128
    sample_count: int = 512
    skew_mm: float = 0.0
    orientation: str = "MF"
    centre_frequency_mhz: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px", "beam_count", "sample_count"):
            _require(getattr(self, name) >= 2, name, getattr(self, name), "at least 2")
        for name in ("spacing_x_mm", "spacing_y_mm", "depth_mm"):
            value = getattr(self, name)
            _require(isfinite(value) and value > 0, name, value, "a length above 0")
        for name in ("origin_x_px", "origin_y_px", "skew_mm"):
            value = getattr(self, name)
            _require(isfinite(value), name, value, "a finite number")
        _require(
            isfinite(self.centre_frequency_mhz) and self.centre_frequency_mhz >= 0,
            "centre_frequency_mhz",
            self.centre_frequency_mhz,
            "0 (unknown) or more",
        )
        check_orientation(self.orientation)
        self._check_kind()

    def _check_kind(self) -> None:
        if self.kind == ProbeKind.LINEAR:
            _require(self.width_mm > 0, "width_mm", self.width_mm, "the aperture, above 0")
            return
        opening = self.angle_max_deg - self.angle_min_deg
        ordered = -90.0 < self.angle_min_deg < self.angle_max_deg < 90.0 and isfinite(opening)
        angles = (self.angle_min_deg, self.angle_max_deg)
        _require(ordered, "angle_min_deg, angle_max_deg", angles, "-90 < min < max < 90")
        if self.kind == ProbeKind.CONVEX:
            _require(self.radius_mm > 0, "radius_mm", self.radius_mm, "the face's radius, above 0")

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> "ProbeGeometry":
        """Return the geometry that `dataclasses.asdict` made these values of, as files keep it.

        Raises:
            KeyError, TypeError: A name is missing or unknown.
            ValueError: The kind is unknown.
            InputError: The values describe no probe.
        """
        return cls(**{**values, "kind": ProbeKind(values["kind"])})

    @classmethod
    def linear(
        cls, width_mm: float, depth_mm: float, width_px: int, height_px: int, **others: Any
    ) -> "ProbeGeometry":
        """Return a linear array whose aperture and depth fill the image exactly."""
        return cls(
            kind=ProbeKind.LINEAR,
            width_px=width_px,
            height_px=height_px,
            spacing_x_mm=width_mm / width_px,
            spacing_y_mm=depth_mm / height_px,
            origin_x_px=(width_px - 1) / 2.0,
            origin_y_px=-0.5,
            width_mm=width_mm,
            depth_mm=depth_mm,
            **others,
        )

    @classmethod
    def sector(
        cls,
        kind: ProbeKind,
        radius_mm: float,
        opening_deg: float,
        depth_mm: float,
        width_px: int,
        **others: Any,
    ) -> "ProbeGeometry":
        """Return a convex or phased array, symmetric, with square pixels that hold the sector."""
        half = radians(opening_deg / 2.0)
        half_width_mm = (radius_mm + depth_mm) * sin(half)
        sagitta_mm = radius_mm * (1.0 - cos(half))
        spacing_mm = 2.0 * half_width_mm / (width_px - 1)
        return cls(
            kind=kind,
            width_px=width_px,
            height_px=ceil((depth_mm + sagitta_mm) / spacing_mm) + 1,
            spacing_x_mm=spacing_mm,
            spacing_y_mm=spacing_mm,
            origin_x_px=(width_px - 1) / 2.0,
            origin_y_px=sagitta_mm / spacing_mm,
            radius_mm=radius_mm,
            angle_min_deg=-opening_deg / 2.0,
            angle_max_deg=opening_deg / 2.0,
            depth_mm=depth_mm,
            **others,
        )

    @property
    def apex_mm(self) -> Float64[np.ndarray, "2"]:
        """Point (x, y) in transducer mm where the beams of a sector meet."""
        return np.array([0.0, -self.radius_mm])

    @property
    def shape(self) -> tuple[int, int]:
        """Image shape (rows, columns)."""
        return self.height_px, self.width_px

    @cached_property
    def T_transducer_image(self) -> Float64[np.ndarray, "4 4"]:
        """The affine that maps ``(column, row, 0, 1)`` to transducer millimetres."""
        T = np.eye(4)
        T[0, 0], T[0, 1] = self.spacing_x_mm, self.skew_mm
        T[1, 1] = self.spacing_y_mm
        T[:2, 3] = -T[:2, :2] @ np.array([self.origin_x_px, self.origin_y_px])
        return T

    def pixels_to_mm(self, pixels: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Map (column, row) to transducer (x, y) in mm."""
        y = (pixels[..., 1] - self.origin_y_px) * self.spacing_y_mm
        x = (pixels[..., 0] - self.origin_x_px) * self.spacing_x_mm
        x = x + (pixels[..., 1] - self.origin_y_px) * self.skew_mm
        return np.stack([x, y], axis=-1)

    def mm_to_pixels(self, points_mm: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Map transducer (x, y) in mm to (column, row)."""
        rows = points_mm[..., 1] / self.spacing_y_mm
        columns = (points_mm[..., 0] - rows * self.skew_mm) / self.spacing_x_mm
        return np.stack([columns + self.origin_x_px, rows + self.origin_y_px], axis=-1)

    @cached_property
    def beam_angles_rad(self) -> Float64[np.ndarray, " beams"]:
        """Angle of each beam from the depth axis, positive to the marked side."""
        if self.kind == ProbeKind.LINEAR:
            return np.zeros(self.beam_count)
        return np.radians(np.linspace(self.angle_min_deg, self.angle_max_deg, self.beam_count))

    @cached_property
    def beam_directions(self) -> Float64[np.ndarray, "beams 2"]:
        """Unit direction (x, y) of each beam."""
        return np.stack([np.sin(self.beam_angles_rad), np.cos(self.beam_angles_rad)], axis=-1)

    @cached_property
    def beam_origins_mm(self) -> Float64[np.ndarray, "beams 2"]:
        """Point (x, y) in transducer mm where each beam leaves the face."""
        if self.kind == ProbeKind.LINEAR:
            pitch = self.width_mm / self.beam_count
            x = (np.arange(self.beam_count) - (self.beam_count - 1) / 2.0) * pitch
            return np.stack([x, np.zeros_like(x)], axis=-1)
        return self.apex_mm + self.radius_mm * self.beam_directions

    @cached_property
    def sample_depths_mm(self) -> Float64[np.ndarray, " samples"]:
        """Depth of each sample along its beam, from 0 at the face to `depth_mm`."""
        return np.linspace(0.0, self.depth_mm, self.sample_count)

    @property
    def sample_step_mm(self) -> float:
        """Distance between two samples of a beam."""
        return self.depth_mm / (self.sample_count - 1)

    @cached_property
    def beam_points_mm(self) -> Float64[np.ndarray, "beams samples 2"]:
        """Point (x, y) in transducer mm of every sample of every beam."""
        reach = self.sample_depths_mm[None, :, None] * self.beam_directions[:, None, :]
        return self.beam_origins_mm[:, None, :] + reach

    def mm_to_beams(self, points_mm: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Map transducer (x, y) in mm to fractional (beam, sample) indices."""
        if self.kind == ProbeKind.LINEAR:
            beam = points_mm[..., 0] / (self.width_mm / self.beam_count)
            beam = beam + (self.beam_count - 1) / 2.0
            return np.stack([beam, points_mm[..., 1] / self.sample_step_mm], axis=-1)
        from_apex = points_mm - self.apex_mm
        angle = np.degrees(np.arctan2(from_apex[..., 0], from_apex[..., 1]))
        opening = self.angle_max_deg - self.angle_min_deg
        beam = (angle - self.angle_min_deg) / opening * (self.beam_count - 1)
        reach_mm = np.linalg.norm(from_apex, axis=-1) - self.radius_mm
        return np.stack([beam, reach_mm / self.sample_step_mm], axis=-1)

    @cached_property
    def fan_mask(self) -> Bool[np.ndarray, "rows columns"]:
        """Pixels that lie inside the imaged sector."""
        beams, samples = np.moveaxis(self.mm_to_beams(self.pixels_to_mm(self.pixel_grid)), -1, 0)
        half = 0.5 if self.kind == ProbeKind.LINEAR else 0.0  # a linear beam has a width
        inside = (beams >= -half - 1e-9) & (beams <= self.beam_count - 1 + half + 1e-9)
        return inside & (samples >= -1e-9) & (samples <= self.sample_count - 1 + 1e-9)

    @property
    def pixel_grid(self) -> Float64[np.ndarray, "rows columns 2"]:
        """(column, row) of every pixel."""
        columns, rows = np.meshgrid(np.arange(self.width_px), np.arange(self.height_px))
        return np.stack([columns, rows], axis=-1).astype(np.float64)


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise InputError(f"probe geometry: {name} is {value}; expected {expected}")
