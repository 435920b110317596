"""Pixels and header of an image file, whatever its format, and the checks all formats share."""

import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from us_recon.errors import InputError

MAXIMUM_BYTES = 1 << 36
"""A header that asks for more than this is damaged."""


class Space(StrEnum):
    """Which way the axes of a file's coordinates point."""

    LPS = "left-posterior-superior"
    RAS = "right-anterior-superior"
    UNSPECIFIED = ""


@dataclass(frozen=True, eq=False)
class Raster:
    """An image as it lies in a file.

    Attributes:
        data: Pixels, slowest axis first: (..., slices, rows, columns), channels last if several.
        fields: The header's entries in the order of the file.
        T_space_index: Affine from (column, row, slice, 1) to mm; None where not three-dimensional.
        space: Which way the coordinates of `T_space_index` point.
    """

    data: Shaped[np.ndarray, "..."]
    fields: dict[str, str] = field(default_factory=dict)
    T_space_index: Float64[np.ndarray, "4 4"] | None = None
    space: Space = Space.UNSPECIFIED


def numbers(path: Path, name: str, text: str, count: int) -> NDArray[np.float64]:
    """Parse the numbers of a header entry.

    Raises:
        InputError: There are not `count` finite numbers.
    """
    try:
        values = np.array([float(part) for part in text.split()])
    except ValueError:
        values = np.empty(0)
    if values.size != count or not np.all(np.isfinite(values)):
        raise InputError(f"{path}: {name} is {text!r}; expected {count} numbers")
    return values


def sizes(path: Path, name: str, text: str) -> list[int]:
    """Parse the extents of a header entry, fastest axis first.

    Raises:
        InputError: An extent is not a whole number of 0 or more, or the product is absurd.
    """
    parts = text.split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"{path}: {name} is {text!r}; expected whole numbers, one for each axis")
    extents = [int(part) for part in parts]
    if np.prod([float(extent) for extent in extents]) > MAXIMUM_BYTES:
        raise InputError(f"{path}: {name} is {text!r}, too large; the header is damaged")
    return extents


def to_array(
    path: Path, raw: bytes, dtype: np.dtype[np.generic], shape: list[int]
) -> Shaped[np.ndarray, "..."]:
    """Shape raw bytes into an array in native byte order.

    Raises:
        InputError: There are too few bytes.
    """
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(raw) < expected:
        raise InputError(
            f"{path}: expected {expected} bytes of pixels ({' x '.join(map(str, shape))} {dtype}), "
            f"found {len(raw)}; the file is truncated, copy or record it again"
        )
    array = np.frombuffer(raw[:expected], dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def inflate(path: Path, raw: bytes, expected: int, window_bits: int = zlib.MAX_WBITS) -> bytes:
    """Decompress zlib data, or gzip data with ``window_bits`` 47, up to `expected` bytes.

    Raises:
        InputError: The data is not compressed that way or is damaged.
    """
    try:
        return zlib.decompressobj(window_bits).decompress(raw, max(expected, 1))
    except zlib.error as error:
        raise InputError(
            f"{path}: the compressed pixels cannot be read ({error}); copy or record the file again"
        ) from error


def detached_file(path: Path, name: str) -> bytes:
    """Read the file of pixels that a header names, beside the header.

    Raises:
        InputError: The file is not there.
    """
    try:
        return (path.parent / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(
            f"{path}: its pixels are in {name!r}, which cannot be read ({error}); "
            "keep the two files together"
        ) from error
