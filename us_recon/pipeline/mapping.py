"""The mapping run: what the node and the offline replay do alike."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from us_recon.files import atomic_path
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.mapper import MapMethod, MapSnapshot, OccupancyMapper
from us_recon.occupancy.mesh_files import write_mesh
from us_recon.occupancy.prior.decoder import ImageDecoder

MESH_FILE = "mesh.ply"
MAP_FILE = "map.npz"
SUMMARY_FILE = "mapping.json"

_FEW_WAITING, _MANY_WAITING = 2, 8  # frames; at 30 a second, 0.1 and 0.3 s


def steps_under_backlog(waiting: int, steps: int) -> int:
    """Return for how many steps to fit a field with a frame: all, half or a quarter of them.

    Args:
        waiting: Frames that wait behind it.
        steps: As many as there are when none waits.

    Returns:
        At least one, unless `steps` is 0.
    """
    if waiting <= _FEW_WAITING:
        return steps
    share = 2 if waiting <= _MANY_WAITING else 4
    return max(steps // share, min(steps, 1))


def save_map_outputs(
    mapper: OccupancyMapper, folder: Path, drops: dict[str, int] | None = None
) -> MapSnapshot:
    """Write the mesh, the map and a summary to a folder, each whole or not at all.

    Args:
        mapper: The map.
        folder: Where to; it is made where it does not exist.
        drops: Frames that could not be used, by reason, for the summary.

    Returns:
        What was written.

    Raises:
        InputError: The folder cannot be written to.
    """
    snapshot = mapper.snapshot()
    write_mesh(snapshot.mesh, folder / MESH_FILE)
    mapper.save(folder / MAP_FILE)
    summary = {
        "frames": snapshot.frames,
        "frames_with_surface": snapshot.frames_with_surface,
        "frames_dropped": drops or {},
        "vertices": len(snapshot.mesh.vertices_mm),
        "triangles": len(snapshot.mesh.triangles),
        "area_mm2": snapshot.mesh.area_mm2,
        "observed_volume_mm3": snapshot.observed_volume_mm3,
        "field_steps": mapper.map.fit.steps if isinstance(mapper.map, FieldMap) else None,
        "message": snapshot.message,
        "prior": _prior(snapshot),
        "decoder": _decoder(mapper.decoder),
        "settings": asdict(mapper.settings),
    }
    with atomic_path(folder / SUMMARY_FILE) as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n")
    return snapshot


def save_settled_map_outputs(
    mapper: OccupancyMapper, folder: Path, drops: dict[str, int] | None = None
) -> MapSnapshot:
    """Write what `save_map_outputs` does at the end of a scan: a field when it has come to rest.

    Before that it is written as it is, for whatever may end the process meanwhile.
    """
    if mapper.settings.method == MapMethod.FIELD:
        save_map_outputs(mapper, folder, drops)
        mapper.settle()
    return save_map_outputs(mapper, folder, drops)


def _decoder(decoder: ImageDecoder | None) -> dict[str, Any] | None:
    """Return what earlier subjects taught the detector, as plain values; None where nothing."""
    if decoder is None:
        return None
    names = ("subjects", "images", "off_mm", "rule_off_mm", "useful")
    return {name: getattr(decoder, name) for name in names}


def _prior(snapshot: MapSnapshot) -> dict[str, Any] | None:
    """Return what a prior did, as plain values; None without one."""
    completed = snapshot.prior
    if completed is None:
        return None
    told: dict[str, Any] = {"message": completed.message}
    if completed.fit is not None and completed.judgement is not None:
        told |= asdict(completed.judgement)
        told["T_prior_world"] = completed.fit.T_prior_world.tolist()
        told["coefficients"] = completed.fit.coefficients.tolist()
    return told
