"""A map in one file: a NumPy archive with a version."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.block_grid import GridArrays
from us_recon.occupancy.brightness import Calibration
from us_recon.occupancy.views import ViewLog

VERSION = 3
_READABLE = (1, 2, 3)  # version 1 has no field, 2 nothing learnt from labels
_FORMAT = "us_recon occupancy map"
_FIELD, _LEARNT = "field_", "learnt_"


@dataclass(frozen=True, eq=False)
class MapRecord:
    """Everything that an `OccupancyMapper` needs to go on.

    Attributes:
        settings: Names and values of its settings.
        frames: Frames integrated.
        frames_with_surface: Those of them that showed a surface.
        grid: The voxels.
        geometry: Geometry of the images the detector was calibrated with; None if there were none.
        calibration: That calibration.
        views: Pose and geometry of each frame.
        field: What a field goes on from, None where the map has none.
        learnt: What a detector goes on from that learns from labels, None likewise.
    """

    settings: Mapping[str, Any]
    frames: int
    frames_with_surface: int
    grid: GridArrays
    geometry: ProbeGeometry | None
    calibration: Calibration | None
    views: ViewLog
    field: Mapping[str, Any] | None = None
    learnt: Mapping[str, Any] | None = None


def write_map(record: MapRecord, path: Path) -> None:
    """Write a map, whole or not at all.

    Raises:
        InputError: The folder cannot be written to.
    """
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": VERSION,
        "settings": dict(record.settings),
        "frames": record.frames,
        "frames_with_surface": record.frames_with_surface,
        "geometry": asdict(record.geometry) if record.geometry else None,
        "geometries": [asdict(geometry) for geometry in record.views.geometries],
    }
    poses, pose_geometry = record.views.arrays()
    arrays: dict[str, Any] = {
        "blocks": record.grid.blocks,
        "value": record.grid.value,
        "weight": record.grid.weight,
        "poses": poses,
        "pose_geometry": pose_geometry,
    }
    calibration = record.calibration
    if calibration is not None:
        header["calibration"] = {
            "frames": calibration.frames,
            "floor": calibration.floor,
            "tissue": calibration.tissue,
        }
        arrays["by_depth"] = calibration.by_depth
    for prefix, part in ((_FIELD, record.field), (_LEARNT, record.learnt)):
        arrays |= {f"{prefix}{name}": values for name, values in (part or {}).items()}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def read_map(path: Path) -> MapRecord:
    """Read what `write_map` wrote.

    Raises:
        InputError: There is no such file, it is not a map, or its version is another.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            _check(header, path)
            return _record(header, archive)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not an occupancy map: {error}") from error


def _check(header: Mapping[str, Any], path: Path) -> None:
    if header["format"] != _FORMAT:
        raise InputError(f"{path} holds {header['format']!r}; expected {_FORMAT!r}")
    if header["version"] not in _READABLE:
        raise InputError(
            f"{path} is of version {header['version']}; this program reads "
            f"{' and '.join(map(str, _READABLE))}"
        )


def _record(header: Mapping[str, Any], archive: Mapping[str, Any]) -> MapRecord:
    geometry = header["geometry"]
    calibration = header.get("calibration")
    field, learnt = (
        {name.removeprefix(prefix): archive[name] for name in archive if name.startswith(prefix)}
        for prefix in (_FIELD, _LEARNT)
    )
    return MapRecord(
        settings=header["settings"],
        frames=header["frames"],
        frames_with_surface=header["frames_with_surface"],
        grid=GridArrays(archive["blocks"], archive["value"], archive["weight"]),
        geometry=geometry and ProbeGeometry.from_fields(geometry),
        calibration=calibration and Calibration(**calibration, by_depth=archive["by_depth"]),
        views=ViewLog.of(
            archive["poses"],
            archive["pose_geometry"],
            [ProbeGeometry.from_fields(values) for values in header["geometries"]],
        ),
        field=field or None,
        learnt=learnt or None,
    )
