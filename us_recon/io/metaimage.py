"""Read and write MetaImage files (``.mha``, ``.igs.mha``, ``.mhd``).

Format: ITK's "MetaIO" documentation. By ITK's convention the coordinates of a MetaImage point
left, posterior, superior; PLUS writes volumes in its tracker's reference frame, which has no
anatomical meaning, with the same header.
"""

import zlib
from pathlib import Path

import numpy as np

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.io.raster import (
    Raster,
    Space,
    detached_file,
    inflate,
    numbers,
    sizes,
    to_array,
)

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NAMES = {code: name for name, code in _TYPES.items() if "MET_LONG" not in name or code == "i8"}
_NAMES |= {"u4": "MET_UINT", "u8": "MET_ULONG_LONG"}
_MAXIMUM_LINE = 1 << 20


def read_metaimage(path: Path | str) -> Raster:
    """Read a MetaImage.

    Raises:
        InputError: Not a MetaImage, of an unknown element type, damaged or truncated.
    """
    path = Path(path)
    fields, raw = _read_header(path)
    shape = sizes(path, "DimSize", _required(path, fields, "DimSize"))[::-1]
    channels = int(
        numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)[0]
    )
    if channels > 1:
        shape.append(channels)
    T = _affine(path, fields) if len(shape) - (channels > 1) == 3 else None
    if 0 in shape:  # a tracker's file without images names the element type MET_OTHER
        return Raster(np.empty(shape, np.uint8), fields, T, Space.LPS)
    dtype = _element_type(path, fields)
    source = fields["ElementDataFile"]
    if source == "LIST" or "%" in source:
        raise InputError(f"{path}: ElementDataFile is {source!r}; expected LOCAL or one file name")
    if source.upper() != "LOCAL":
        raw = detached_file(path, source)
    if _flag(fields, "CompressedData"):
        raw = inflate(path, raw, int(np.prod(shape)) * dtype.itemsize)
    elif source.upper() != "LOCAL":
        raw = raw[_header_size(path, fields, len(raw), int(np.prod(shape)) * dtype.itemsize) :]
    return Raster(to_array(path, raw, dtype, shape), fields, T, Space.LPS)


def write_metaimage(path: Path | str, raster: Raster, *, compress: bool = True) -> None:
    """Write a MetaImage with its pixels in the same file.

    Args:
        path: File to write.
        raster: Pixels (..., rows, columns), without channels; `T_space_index` where 3-D. Its
            fields follow the standard entries, such as PLUS's ``Seq_Frame0000_...``.
        compress: Whether to compress the pixels with zlib.

    Raises:
        InputError: The element type has no name in the format.
    """
    data = np.ascontiguousarray(raster.data)
    code = data.dtype.newbyteorder("=").str[1:]
    if code not in _NAMES:
        raise InputError(f"{path}: MetaImage has no element type for {data.dtype}")
    raw = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    if compress:
        raw = zlib.compress(raw)
    dimensions = data.ndim
    T = np.eye(dimensions + 1) if raster.T_space_index is None else raster.T_space_index
    spacing = np.linalg.norm(T[:-1, :-1], axis=0)
    header = {
        "ObjectType": "Image",
        "NDims": str(dimensions),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compress),
        "TransformMatrix": _text((T[:-1, :-1] / spacing).T.ravel()),
        "Offset": _text(T[:-1, -1]),
        "ElementSpacing": _text(spacing),
        "DimSize": " ".join(str(extent) for extent in data.shape[::-1]),
        "ElementType": _NAMES[code],
    }
    if compress:
        header["CompressedDataSize"] = str(len(raw))
    header |= {key: value for key, value in raster.fields.items() if key not in _OWN_FIELDS}
    header["ElementDataFile"] = "LOCAL"
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    with atomic_path(path) as partial:
        partial.write_bytes(text.encode("utf-8") + raw)


_OWN_FIELDS = {
    "ObjectType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB",
    "CompressedData", "CompressedDataSize", "TransformMatrix", "Rotation", "Orientation",
    "Offset", "Position", "Origin", "ElementSpacing", "ElementSize", "DimSize", "ElementType",
    "ElementNumberOfChannels", "HeaderSize", "ElementDataFile",
}  # fmt: skip


def _read_header(path: Path) -> tuple[dict[str, str], bytes]:
    fields: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            while "ElementDataFile" not in fields:
                line = file.readline(_MAXIMUM_LINE).decode("latin-1")
                key, equals, value = line.partition("=")
                if not equals or not key.strip().isidentifier():
                    raise InputError(_not_metaimage(path, line, fields))
                fields[key.strip()] = value.strip()
            return fields, file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _not_metaimage(path: Path, line: str, fields: dict[str, str]) -> str:
    if "DimSize" not in fields:
        return f"{path} is not a MetaImage: expected 'ObjectType = Image', found {line[:40]!r}"
    where = f"after {len(fields)} header entries came {line[:40]!r}" if line else "the file ends"
    return f"{path}: {where} before ElementDataFile; the file is truncated or damaged"


def _required(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"{path}: the header has no {name}; the file is damaged")
    return fields[name]


def _flag(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "False").lower() in ("true", "1")


def _element_type(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    name = _required(path, fields, "ElementType")
    if name not in _TYPES:
        raise InputError(f"{path}: ElementType is {name}; expected one of {', '.join(_TYPES)}")
    if fields.get("BinaryData", "True").lower() == "false":
        raise InputError(f"{path}: the pixels are written as text; expected BinaryData = True")
    big = _flag(fields, "BinaryDataByteOrderMSB") or _flag(fields, "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + _TYPES[name])


def _affine(path: Path, fields: dict[str, str]) -> np.ndarray:
    matrix = fields.get("TransformMatrix", fields.get("Orientation", fields.get("Rotation")))
    offset = fields.get("Offset", fields.get("Position", fields.get("Origin", "0 0 0")))
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", "1 1 1"))
    T = np.eye(4)
    # The file lists the direction of the first axis, then that of the second, ...
    directions = numbers(path, "TransformMatrix", matrix or "1 0 0 0 1 0 0 0 1", 9).reshape(3, 3).T
    T[:3, :3] = directions * numbers(path, "ElementSpacing", spacing, 3)
    T[:3, 3] = numbers(path, "Offset", offset, 3)
    return T


def _header_size(path: Path, fields: dict[str, str], found: int, expected: int) -> int:
    size = int(numbers(path, "HeaderSize", fields.get("HeaderSize", "0"), 1)[0])
    return max(found - expected, 0) if size < 0 else size


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values)
