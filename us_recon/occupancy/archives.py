"""A NumPy archive with a header that says what it is and of which version."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from us_recon.errors import InputError
from us_recon.files import atomic_path

_BROKEN = (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class ArchiveKind:
    """What an archive holds.

    Attributes:
        format: What its header says.
        name: The same in an error, with its article.
        version: Version that is written.
        readable: Versions that can be read.
        made_by: Where such files come from.
        otherwise: What to do about a version that cannot be read.
    """

    format: str
    name: str
    version: int
    readable: tuple[int, ...]
    made_by: str
    otherwise: str = ""


def write_archive(
    path: Path | str, kind: ArchiveKind, header: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write header and arrays, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    told = json.dumps({"format": kind.format, "version": kind.version, **header})
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, header=np.array(told), **arrays)


@contextmanager
def opened_archive(
    path: Path, kind: ArchiveKind
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Give header and arrays of an archive, within which what is missing or wrong is told.

    Raises:
        InputError: There is no such file, it is of another kind or version, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; {kind.made_by}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not {kind.name}; {kind.made_by}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            _check(header, path, kind)
            yield header, archive
    except _BROKEN as error:
        raise InputError(f"{path} is not {kind.name}: {error}") from error


def _check(header: Mapping[str, Any], path: Path, kind: ArchiveKind) -> None:
    if header["format"] != kind.format:
        raise InputError(f"{path} holds {header['format']!r}; expected {kind.format!r}")
    if header["version"] not in kind.readable:
        versions = " and ".join(map(str, kind.readable))
        raise InputError(
            f"{path} is of version {header['version']}; this program reads {versions}"
            + kind.otherwise
        )
