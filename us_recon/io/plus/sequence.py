"""PLUS tracked sequences: images with the transforms of each frame and their status.

PLUS normalises every B-mode image to MF orientation when it reads it, and its calibrations,
clip rectangles and fans refer to that normalised image (PLUS documentation, "Ultrasound image
orientation" and "Volume reconstruction algorithm"). So the images are normalised here, once, on
entry, and ``ImageToProbe`` then applies to them as it stands.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.errors import InputError
from us_recon.imaging.orientation import normalise_orientation
from us_recon.io.metaimage import read_metaimage
from us_recon.io.nrrd import read_nrrd
from us_recon.io.raster import Raster, numbers

NS_PER_S = 1_000_000_000

_FRAME_FIELD = re.compile(r"Seq_Frame(\d+)_(\w+)")
_TRANSFORM = re.compile(r"([A-Z]\w*)To([A-Z]\w*)Transform")


@dataclass(frozen=True, eq=False)
class PlusFrame:
    """One frame of a sequence.

    Attributes:
        stamp_ns: Acquisition time, counted from the start of the recording software.
        image: Brightness in MF orientation; None where the file marks it invalid or has none.
        transforms: ``T_to_from`` (mm) by (from, to), of those the tracker reports as valid.
        invalid: (from, to) of the transforms whose status is not OK.
    """

    stamp_ns: int
    image: UInt8[np.ndarray, "rows columns"] | None
    transforms: dict[tuple[str, str], Float64[np.ndarray, "4 4"]]
    invalid: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class PlusSequence:
    """A tracked sequence.

    Attributes:
        path: File it was read from.
        frames: Its frames in the order of the file.
        orientation: Orientation code of the images in the file; `frames` hold them in MF.
    """

    path: Path
    frames: tuple[PlusFrame, ...]
    orientation: str


def read_plus_sequence(path: Path | str) -> PlusSequence:
    """Read a tracked sequence (``.mha``, ``.mhd``, ``.nrrd``, ``.nhdr``).

    Raises:
        InputError: The file is damaged or truncated, its pixels are not 8-bit brightness, or a
            frame lacks a timestamp.
    """
    path = Path(path)
    raster = _read_raster(path)
    images, orientation = _images(path, raster)
    fields = _fields_by_frame(raster.fields)
    count = max(len(images), len(fields))
    if count == 0:
        raise InputError(f"{path} holds no frame; expected a tracked sequence of PLUS")
    frames = tuple(
        _frame(path, number, images[number] if number < len(images) else None, fields)
        for number in range(count)
    )
    stamps_ns = [frame.stamp_ns for frame in frames]
    if sorted(stamps_ns) != stamps_ns:
        frames = tuple(sorted(frames, key=lambda frame: frame.stamp_ns))
    return PlusSequence(path, frames, orientation)


def _read_raster(path: Path) -> Raster:
    if path.suffix in (".mha", ".mhd"):
        return read_metaimage(path)
    if path.suffix in (".nrrd", ".nhdr"):
        return read_nrrd(path)
    raise InputError(f"{path}: expected a PLUS sequence, .mha, .mhd, .nrrd or .nhdr")


def _images(path: Path, raster: Raster) -> tuple[list[UInt8[np.ndarray, "h w"]], str]:
    code = raster.fields.get("UltrasoundImageOrientation", "MF")
    if raster.data.size == 0 or code.upper() == "XX":
        return [], code
    kind = raster.fields.get("UltrasoundImageType", "BRIGHTNESS")
    if kind != "BRIGHTNESS":
        raise InputError(
            f"{path}: UltrasoundImageType is {kind}; expected BRIGHTNESS (B-mode); "
            "convert it with PLUS's RfProcessor or EditSequenceFile"
        )
    data = raster.data[None] if raster.data.ndim == 2 else raster.data
    if data.ndim != 3 or data.dtype != np.uint8:
        raise InputError(
            f"{path}: the images are {data.dtype} of shape {data.shape}; "
            "expected 8-bit images of one channel, (frames, rows, columns)"
        )
    return [normalise_orientation(image, code) for image in data], code


def _fields_by_frame(header: dict[str, str]) -> dict[int, dict[str, str]]:
    fields: dict[int, dict[str, str]] = {}
    for key, value in header.items():
        if match := _FRAME_FIELD.fullmatch(key):
            fields.setdefault(int(match[1]), {})[match[2]] = value
    return fields


def _frame(
    path: Path,
    number: int,
    image: UInt8[np.ndarray, "h w"] | None,
    fields_by_frame: dict[int, dict[str, str]],
) -> PlusFrame:
    fields = fields_by_frame.get(number, {})
    name = f"Seq_Frame{number:04d}"
    if "Timestamp" not in fields:
        raise InputError(f"{path}: {name}_Timestamp is missing; every frame needs its time")
    seconds = numbers(path, f"{name}_Timestamp", fields["Timestamp"], 1)[0]
    transforms, invalid = {}, set()
    for key, value in fields.items():
        if match := _TRANSFORM.fullmatch(key):
            frames = (match[1], match[2])
            # A transform without a status is taken as PLUS takes it: as not valid.
            if fields.get(f"{key}Status", "INVALID").upper() == "OK":
                transforms[frames] = numbers(path, f"{name}_{key}", value, 16).reshape(4, 4)
            else:
                invalid.add(frames)
    valid_image = fields.get("ImageStatus", "OK").upper() == "OK"
    return PlusFrame(
        stamp_ns=round(seconds * NS_PER_S),
        image=image if valid_image else None,
        transforms=transforms,
        invalid=frozenset(invalid),
    )
