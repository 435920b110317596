"""A prior in one file: a NumPy archive with a version."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.geometry.grid import Grid
from us_recon.occupancy.prior.shape import ShapePrior, Training

VERSION = 1
_FORMAT = "us_recon shape prior"


def write_prior(prior: ShapePrior, path: Path | str) -> None:
    """Write a prior, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    header = {
        "format": _FORMAT,
        "version": VERSION,
        "grid": asdict(prior.grid),
        "training": asdict(prior.training),
    }
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, header=np.array(json.dumps(header)), fields=prior.fields_mm, known=prior.known
        )


def read_prior(path: Path | str) -> ShapePrior:
    """Read what `write_prior` wrote.

    Raises:
        InputError: There is no such file, it is not a prior, or its version is another.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `us-recon prior train` makes a prior")
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            _check(header, path)
            return _prior(header, archive["fields"], archive["known"])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a shape prior: {error}") from error


def _check(header: dict[str, Any], path: Path) -> None:
    if header["format"] != _FORMAT:
        raise InputError(f"{path} holds {header['format']!r}; expected {_FORMAT!r}")
    if header["version"] != VERSION:
        raise InputError(
            f"{path} is of version {header['version']}; this program reads {VERSION}. Train anew"
        )


def _prior(header: dict[str, Any], fields: np.ndarray, known: np.ndarray) -> ShapePrior:
    told, training = header["grid"], header["training"]
    x, y, z = told["shape"]
    grid = Grid(tuple(told["origin_mm"]), float(told["spacing_mm"]), (x, y, z))
    if fields.shape[:3] != grid.shape or fields.ndim != 4 or known.shape != grid.shape:
        raise ValueError(f"fields of shape {fields.shape} on a grid of {grid.shape}")
    if fields.dtype != np.float32 or not np.isfinite(fields).all():
        raise ValueError("the fields are not finite numbers of single precision")
    return ShapePrior(
        grid=grid,
        fields_mm=np.ascontiguousarray(fields),
        known=known.astype(bool),
        training=Training(
            anatomy=training["anatomy"],
            subjects=tuple(training["subjects"]),
            variance_explained=training["variance_explained"],
            residual_mm=training["residual_mm"],
        ),
    )
