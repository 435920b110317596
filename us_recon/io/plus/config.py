"""PLUS device set configurations: calibration, image geometry and reconstruction parameters."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from us_recon.errors import InputError
from us_recon.imaging.compounding import Compounding, CompoundingSettings, Interpolation
from us_recon.imaging.region import Fan, ImageRegion
from us_recon.io.raster import numbers

_INTERPOLATIONS = {
    "NEAREST_NEIGHBOR": Interpolation.NEAREST,
    "LINEAR": Interpolation.LINEAR,
}
_COMPOUNDINGS = {
    "MEAN": Compounding.MEAN,
    "MAXIMUM": Compounding.MAXIMUM,
    "LATEST": Compounding.LATEST,
}


@dataclass(frozen=True)
class ScanConversion:
    """A ScanConversion element: how the scanner laid beams out in the image.

    Attributes:
        name: Name of the transducer.
        curvilinear: Whether the face is curved.
        image_size_px: Columns and rows of the image.
        spacing_mm: Pixel pitch along x and y.
        centre_px: Column and row of the centre of the array face, counted from the outer edge of
            the first column and from the centre of the first row, as PLUS does.
        depth_mm: Linear: imaged depth.
        width_mm: Linear: aperture.
        radii_mm: Curvilinear: radius of the face, and of the deepest sample.
        angles_deg: Curvilinear: first and last beam.
    """

    name: str
    curvilinear: bool
    image_size_px: tuple[int, int]
    spacing_mm: tuple[float, float]
    centre_px: tuple[float, float]
    depth_mm: float = 0.0
    width_mm: float = 0.0
    radii_mm: tuple[float, float] = (0.0, 0.0)
    angles_deg: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Reconstruction:
    """A VolumeReconstruction element.

    Attributes:
        settings: Spacing, interpolation, compounding and hole filling.
        region: Clip rectangle and fan.
    """

    settings: CompoundingSettings
    region: ImageRegion


@dataclass(frozen=True, eq=False)
class PlusConfig:
    """What a device set configuration says about images and volumes.

    Attributes:
        path: File it was read from.
        transforms: ``T_to_from`` (mm) by (from, to), of the CoordinateDefinitions.
        scan_conversions: Every ScanConversion element.
        reconstruction: The VolumeReconstruction element, or None.
    """

    path: Path
    transforms: dict[tuple[str, str], Float64[np.ndarray, "4 4"]]
    scan_conversions: tuple[ScanConversion, ...] = field(default=())
    reconstruction: Reconstruction | None = None


def read_plus_config(path: Path | str) -> PlusConfig:
    """Read a PLUS configuration.

    Raises:
        InputError: Not XML, not a PLUS configuration, or a value cannot be understood.
    """
    path = Path(path)
    try:
        root = ET.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ET.ParseError as error:
        raise InputError(f"{path} is not XML ({error}); expected a PLUS configuration") from error
    if root.tag != "PlusConfiguration":
        raise InputError(f"{path}: the root element is {root.tag}; expected PlusConfiguration")
    element = root.find(".//VolumeReconstruction")
    return PlusConfig(
        path=path,
        transforms=_transforms(path, root),
        scan_conversions=tuple(_scan_conversion(path, e) for e in root.iter("ScanConversion")),
        reconstruction=None if element is None else _reconstruction(path, element),
    )


def _transforms(path: Path, root: ET.Element) -> dict[tuple[str, str], NDArray[np.float64]]:
    found = {}
    for element in root.iterfind(".//CoordinateDefinitions/Transform"):
        source, target = element.get("From", ""), element.get("To", "")
        name = f"Matrix of Transform {source} to {target}"
        matrix = numbers(path, name, element.get("Matrix", ""), 16).reshape(4, 4)
        if not np.allclose(matrix[3], [0, 0, 0, 1]) or abs(np.linalg.det(matrix)) < 1e-12:
            raise InputError(f"{path}: {name} is {matrix.tolist()}; expected an invertible affine")
        found[source, target] = matrix
    return found


def _scan_conversion(path: Path, element: ET.Element) -> ScanConversion:
    kind = element.get("TransducerGeometry", "")
    if kind not in ("LINEAR", "CURVILINEAR"):
        raise InputError(f"{path}: TransducerGeometry is {kind!r}; expected LINEAR or CURVILINEAR")

    def values(name: str, count: int = 1, default: str | None = None) -> list[float]:
        text = element.get(name, default)
        if text is None:
            raise InputError(f"{path}: the {kind} ScanConversion element lacks {name}")
        return [float(value) for value in numbers(path, name, text, count)]

    def pair(name: str, default: str | None = None) -> tuple[float, float]:
        first, second = values(name, 2, default)
        return first, second

    width_px, height_px = (int(extent) for extent in pair("OutputImageSizePixel"))
    spacing_mm = pair("OutputImageSpacingMmPerPixel")
    curved = kind == "CURVILINEAR"
    radii_mm = (values("RadiusStartMm")[0], values("RadiusStopMm")[0]) if curved else (0.0, 0.0)
    angles = (values("ThetaStartDeg")[0], values("ThetaStopDeg")[0]) if curved else (0.0, 0.0)
    default_row = radii_mm[0] / spacing_mm[1]  # as PLUS does: the first row where it is linear
    return ScanConversion(
        name=element.get("TransducerName", ""),
        curvilinear=curved,
        image_size_px=(width_px, height_px),
        spacing_mm=spacing_mm,
        centre_px=pair("TransducerCenterPixel", f"{width_px / 2} {default_row}"),
        depth_mm=radii_mm[1] - radii_mm[0] if curved else values("ImagingDepthMm")[0],
        width_mm=0.0 if curved else values("TransducerWidthMm")[0],
        radii_mm=radii_mm,
        angles_deg=angles,
    )


def _reconstruction(path: Path, element: ET.Element) -> Reconstruction:
    def values(name: str, count: int, default: str) -> list[float]:
        return [float(value) for value in numbers(path, name, element.get(name, default), count)]

    spacing = values("OutputSpacing", 3, "0.5 0.5 0.5")
    if max(spacing) - min(spacing) > 1e-9:
        raise InputError(f"{path}: OutputSpacing is {spacing}; expected three equal values")
    first, last = values("FanAnglesDeg", 2, "0 0")
    fan = None
    if (first, last) != (0.0, 0.0):  # PLUS: both angles 0 mean no fan
        column, row = values("FanOriginPixel", 2, "0 0")
        inner = values("FanRadiusStartPixel", 1, "0")[0]
        fan = Fan(
            origin_px=(column, row),
            angles_deg=(min(first, last), max(first, last)),
            radii_px=(inner, values("FanRadiusStopPixel", 1, "500")[0]),
        )
    x, y = values("ClipRectangleOrigin", 2, "0 0")
    width, height = values("ClipRectangleSize", 2, "0 0")
    clip = None
    if width > 0 and height > 0:  # PLUS counts the pixels on both edges as inside
        clip = (int(x), int(y), int(width) + 1, int(height) + 1)
    interpolation = element.get("Interpolation", "NEAREST_NEIGHBOR")
    compounding = element.get("CompoundingMode", "MEAN")
    if interpolation not in _INTERPOLATIONS or compounding not in _COMPOUNDINGS:
        raise InputError(
            f"{path}: Interpolation {interpolation}, CompoundingMode {compounding}; expected one "
            f"of {', '.join(_INTERPOLATIONS)} and one of {', '.join(_COMPOUNDINGS)}"
        )
    stick = element.find(".//HoleFillingElement[@Type='STICK']")
    length = "9" if stick is None else stick.get("StickLengthLimit", "9")
    return Reconstruction(
        CompoundingSettings(
            spacing_mm=spacing[0],
            interpolation=_INTERPOLATIONS[interpolation].value,
            compounding=_COMPOUNDINGS[compounding].value,
            fill=element.get("FillHoles", "OFF").upper() in ("ON", "TRUE"),
            fill_length=int(numbers(path, "StickLengthLimit", length, 1)[0]),
        ),
        ImageRegion(clip, fan),
    )
