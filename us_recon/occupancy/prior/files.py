"""A prior in one file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from us_recon.geometry.grid import Grid
from us_recon.occupancy.archives import ArchiveKind, opened_archive, write_archive
from us_recon.occupancy.prior.decoder import ImageDecoder
from us_recon.occupancy.prior.shape import ShapePrior, Training

VERSION = 2
_KIND = ArchiveKind(
    format="us_recon shape prior",
    name="a shape prior",
    version=VERSION,
    readable=(1, 2),  # version 1 has no decoder
    made_by="`us-recon prior train` makes a prior",
    otherwise=". Train anew",
)


_DECODER = "decoder_"
_DECODER_FIGURES = ("subjects", "images", "off_mm", "rule_off_mm")


@dataclass(frozen=True, eq=False)
class Prior:
    """All that earlier subjects told.

    Attributes:
        shape: How they differ in shape.
        decoder: What their labels taught the detector; None where their maps keep no label.
    """

    shape: ShapePrior
    decoder: ImageDecoder | None = None


def write_prior(shape: ShapePrior, path: Path | str, decoder: ImageDecoder | None = None) -> None:
    """Write a prior, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    header: dict[str, Any] = {"grid": asdict(shape.grid), "training": asdict(shape.training)}
    arrays: dict[str, Any] = {"fields": shape.fields_mm, "known": shape.known}
    if decoder is not None:
        header["decoder"] = {name: getattr(decoder, name) for name in _DECODER_FIGURES}
        arrays |= {f"{_DECODER}{name}": weight for name, weight in decoder.weights.items()}
    write_archive(path, _KIND, header, arrays)


def read_prior(path: Path | str) -> Prior:
    """Read what `write_prior` wrote.

    Raises:
        InputError: There is no such file, it is not a prior, or its version is another.
    """
    with opened_archive(Path(path), _KIND) as (header, archive):
        shape = _shape(header, archive["fields"], archive["known"])
        return Prior(shape, _decoder(header.get("decoder"), archive))


def _decoder(told: Mapping[str, Any] | None, archive: Mapping[str, Any]) -> ImageDecoder | None:
    if told is None:
        return None
    weights = {
        name.removeprefix(_DECODER): archive[name] for name in archive if name.startswith(_DECODER)
    }
    for name, weight in weights.items():
        if weight.dtype != np.float32 or not np.isfinite(weight).all():
            raise ValueError(f"{name} of the decoder is not finite numbers of single precision")
    return ImageDecoder(weights, *(told[name] for name in _DECODER_FIGURES))


def _shape(header: dict[str, Any], fields: np.ndarray, known: np.ndarray) -> ShapePrior:
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
