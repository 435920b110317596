"""A map in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.archives import ArchiveKind, opened_archive, write_archive
from us_recon.occupancy.block_grid import GridArrays
from us_recon.occupancy.brightness import Calibration
from us_recon.occupancy.views import ViewLog

VERSION = 5
_KIND = ArchiveKind(
    format="us_recon occupancy map",
    name="an occupancy map",
    version=VERSION,
    # 1: no field, 2: nothing learnt, 3: no beams' directions, 4: no shares but a field's
    readable=(1, 2, 3, 4, 5),
    made_by="the mapper writes one as map.npz",
)
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
        shares: How far labels and detector agree (see `Agreement`).
        T_world_labelled: Pose of the newest frame with a label, None where there was none.
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
    shares: Sequence[float] = ()
    T_world_labelled: Float64[np.ndarray, "4 4"] | None = None


def write_map(record: MapRecord, path: Path) -> None:
    """Write a map, whole or not at all.

    Raises:
        InputError: The folder cannot be written to.
    """
    header: dict[str, Any] = {
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
        "shares": np.array(record.shares),
    }
    if record.T_world_labelled is not None:
        arrays["T_world_labelled"] = record.T_world_labelled
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
    write_archive(path, _KIND, header, arrays)


def read_map(path: Path) -> MapRecord:
    """Read what `write_map` wrote.

    Raises:
        InputError: There is no such file, it is not a map, or its version is another.
    """
    with opened_archive(path, _KIND) as (header, archive):
        return _record(header, archive)


def _record(header: Mapping[str, Any], archive: Mapping[str, Any]) -> MapRecord:
    geometry = header["geometry"]
    calibration = header.get("calibration")
    of_field, learnt = (
        {name.removeprefix(prefix): archive[name] for name in archive if name.startswith(prefix)}
        for prefix in (_FIELD, _LEARNT)
    )
    shares = archive.get("shares", of_field.pop("shares", np.zeros(0)))
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
        field=of_field or None,
        learnt=learnt or None,
        shares=shares.tolist(),
        T_world_labelled=archive.get("T_world_labelled"),
    )
