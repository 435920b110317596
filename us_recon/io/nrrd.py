"""Read and write NRRD files (``.nrrd``, ``.igs.nrrd``, ``.nhdr``).

Format: Teem's "Definition of NRRD File Format". PLUS stores the values of each frame of a
sequence as key/value pairs, ``Seq_Frame0000_ProbeToTrackerTransform:=...``.
"""

import bz2
import gzip
from pathlib import Path

import numpy as np

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.io.raster import Raster, Space, detached_file, inflate, numbers, sizes, to_array

_TYPES = {
    "i1": ("int8", "signed char", "int8_t"),
    "u1": ("uint8", "uchar", "unsigned char", "uint8_t"),
    "i2": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "u2": ("uint16", "ushort", "unsigned short", "unsigned short int", "uint16_t"),
    "i4": ("int32", "int", "signed int", "int32_t"),
    "u4": ("uint32", "uint", "unsigned int", "uint32_t"),
    "i8": ("int64", "longlong", "long long", "long long int", "signed long long", "int64_t"),
    "u8": ("uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_SPACES = {
    "left-posterior-superior": Space.LPS,
    "lps": Space.LPS,
    "right-anterior-superior": Space.RAS,
    "ras": Space.RAS,
}
_OWN_FIELDS = {
    "type", "dimension", "sizes", "endian", "encoding", "space", "space dimension", "spacings",
    "space directions", "space origin", "kinds", "data file", "datafile",
}  # fmt: skip
_GZIP_OR_ZLIB = 47


def read_nrrd(path: Path | str) -> Raster:
    """Read an NRRD file; an axis of kind list or time, wherever it is, becomes the slowest one.

    Raises:
        InputError: Not an NRRD file, of an unknown type or encoding, damaged or truncated.
    """
    path = Path(path)
    fields, raw = _read_header(path)
    name = _required(path, fields, "type").lower()
    if name not in _CODES:
        raise InputError(f"{path}: type is {name!r}; expected one of {', '.join(sorted(_CODES))}")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    dtype = np.dtype(order + _CODES[name])
    extents = sizes(path, "sizes", _required(path, fields, "sizes"))
    kinds = fields.get("kinds", " ".join(["domain"] * len(extents))).lower().split()
    if len(kinds) != len(extents):
        raise InputError(f"{path}: kinds names {len(kinds)} axes; expected {len(extents)}")
    T, space = _affine(path, fields, kinds)
    for skip in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(skip, "0") != "0":
            raise InputError(
                f"{path}: {skip} is {fields[skip]}; expected pixels right after the header"
            )
    source = fields.get("data file", fields.get("datafile"))
    if source:
        raw = detached_file(path, source)
    expected = int(np.prod(extents)) * dtype.itemsize
    raw = _decode(path, _required(path, fields, "encoding").lower(), raw, expected)
    data = to_array(path, raw, dtype, extents[::-1])
    return Raster(_order_axes(data, kinds), fields, T, space)


def write_nrrd(path: Path | str, raster: Raster, *, compress: bool = True) -> None:
    """Write an NRRD file with its pixels in the same file.

    Args:
        path: File to write.
        raster: Pixels (..., rows, columns), without channels. With `T_space_index` its three axes
            are spatial; without, the slowest axis is a list of images. Its fields are written as
            key/value pairs.
        compress: Whether to compress the pixels with gzip.

    Raises:
        InputError: The element type has no name in the format.
    """
    data = np.ascontiguousarray(raster.data)
    code = data.dtype.newbyteorder("=").str[1:]
    if code not in _TYPES:
        raise InputError(f"{path}: NRRD has no type for {data.dtype}")
    header = {
        "type": _TYPES[code][0],
        "dimension": str(data.ndim),
        "sizes": " ".join(str(extent) for extent in data.shape[::-1]),
        "endian": "little",
        "encoding": "gzip" if compress else "raw",
    }
    if raster.T_space_index is None:
        header["kinds"] = " ".join(["domain"] * 2 + ["list"] * (data.ndim - 2))
    else:
        named = raster.space is not Space.UNSPECIFIED
        header |= {"space": raster.space.value} if named else {"space dimension": "3"}
        columns = raster.T_space_index[:3].T
        header["space directions"] = " ".join(_vector(column) for column in columns[:3])
        header["space origin"] = _vector(columns[3])
        header["kinds"] = "domain domain domain"
    pairs = {key: value for key, value in raster.fields.items() if key not in _OWN_FIELDS}
    text = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in header.items())
    text += "".join(f"{key}:={value}\n" for key, value in pairs.items()) + "\n"
    raw = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
    with atomic_path(path) as partial:
        partial.write_bytes(text.encode("utf-8") + (gzip.compress(raw) if compress else raw))


def _read_header(path: Path) -> tuple[dict[str, str], bytes]:
    fields: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            magic = file.readline(80)
            if not magic.startswith(b"NRRD"):
                raise InputError(f"{path} is not an NRRD file: it begins with {magic[:20]!r}")
            while line := file.readline(1 << 20).decode("latin-1").rstrip("\r\n"):
                if line.startswith("#"):
                    continue
                key, colon, value = line.partition(":")
                if not colon:
                    raise InputError(
                        f"{path}: header line {line[:60]!r} has no colon; damaged file"
                    )
                fields[key.strip()] = value.removeprefix("=").strip()
            return fields, file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _required(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise InputError(f"{path}: the header has no {name!r}; the file is damaged")
    return fields[name]


def _decode(path: Path, encoding: str, raw: bytes, expected: int) -> bytes:
    if encoding == "raw":
        return raw
    if encoding in ("gzip", "gz"):
        return inflate(path, raw, expected, _GZIP_OR_ZLIB)
    if encoding in ("bzip2", "bz2"):
        try:
            return bz2.decompress(raw)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: the bzip2 pixels cannot be read ({error})") from error
    raise InputError(f"{path}: encoding is {encoding!r}; expected raw, gzip or bzip2")


def _order_axes(data: np.ndarray, kinds: list[str]) -> np.ndarray:
    slowest_first = kinds[::-1]
    for kind in ("list", "time"):
        if kind in slowest_first:
            axis = slowest_first.index(kind)
            data = np.moveaxis(data, axis, 0)
            slowest_first.insert(0, slowest_first.pop(axis))
    spatial = ("domain", "space", "list", "time", "none", "???")
    for axis, kind in enumerate(slowest_first):
        if kind not in spatial:
            return np.moveaxis(data, axis, -1)
    return data


def _affine(
    path: Path, fields: dict[str, str], kinds: list[str]
) -> tuple[np.ndarray | None, Space]:
    spatial = [
        axis for axis, kind in enumerate(kinds) if kind in ("domain", "space", "none", "???")
    ]
    if len(spatial) != 3:
        return None, Space.UNSPECIFIED
    T = np.eye(4)
    if "space directions" in fields:
        vectors = _vectors(fields["space directions"])
        if len(vectors) != len(kinds):
            raise InputError(f"{path}: space directions are {fields['space directions']!r}")
        for column, axis in enumerate(spatial):
            T[:3, column] = numbers(path, "space directions", vectors[axis], 3)
        origin = _vectors(fields.get("space origin", "(0,0,0)"))[0]
        T[:3, 3] = numbers(path, "space origin", origin, 3)
    elif "spacings" in fields:
        spacings = numbers(path, "spacings", fields["spacings"].replace("nan", "1"), len(kinds))
        T[:3, :3] = np.diag(spacings[spatial])
    name = fields.get("space", "").lower()
    if name and name not in _SPACES:
        raise InputError(f"{path}: space is {name!r}; expected one of {', '.join(_SPACES)} or none")
    return T, _SPACES.get(name, Space.UNSPECIFIED)


def _vectors(text: str) -> list[str]:
    parts = text.replace("(", " (").replace(")", ") ").replace(", ", ",").split()
    return [part.strip("()").replace(",", " ") for part in parts]


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(f"{value:.17g}" for value in values) + ")"
