"""A prior in one file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from us_recon.geometry.grid import Grid
from us_recon.occupancy.archives import ArchiveKind, opened_archive, write_archive
from us_recon.occupancy.prior.shape import ShapePrior, Training

VERSION = 1
_KIND = ArchiveKind(
    format="us_recon shape prior",
    name="a shape prior",
    version=VERSION,
    readable=(VERSION,),
    made_by="`us-recon prior train` makes a prior",
    otherwise=". Train anew",
)


def write_prior(prior: ShapePrior, path: Path | str) -> None:
    """Write a prior, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    header = {"grid": asdict(prior.grid), "training": asdict(prior.training)}
    write_archive(path, _KIND, header, {"fields": prior.fields_mm, "known": prior.known})


def read_prior(path: Path | str) -> ShapePrior:
    """Read what `write_prior` wrote.

    Raises:
        InputError: There is no such file, it is not a prior, or its version is another.
    """
    with opened_archive(Path(path), _KIND) as (header, archive):
        return _prior(header, archive["fields"], archive["known"])


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
