"""`us-recon evaluate`: figures of a result against the truth."""

import argparse
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from rich.console import Console
from rich.table import Table

from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import InputError
from us_recon.evaluation.mesh_metrics import score_mesh
from us_recon.evaluation.report import score_rows, score_values, write_report
from us_recon.evaluation.visibility import View
from us_recon.imaging.assembler import AssemblerSettings
from us_recon.io.bag import TopicNames, frames_from_bag
from us_recon.occupancy.map_files import MapRecord, read_map
from us_recon.occupancy.mapper_settings import TARGETS
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.pipeline.mapping import MAP_FILE


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("evaluate", help="figures of a result against the truth")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    mesh = kinds.add_parser("mesh", help="a reconstructed surface against the true one")
    mesh.add_argument("mesh", type=Path, help="reconstruction: .ply, .stl or .obj, mm")
    mesh.add_argument("--truth", type=Path, required=True, help="true surface in the same frame")
    mesh.add_argument(
        "--bag",
        type=Path,
        help="the recording: completeness then counts only what its images could see; default: "
        f"the {MAP_FILE} beside the mesh, if there is one, which knows the probe's poses",
    )
    mesh.add_argument(
        "--region-mm",
        type=float,
        default=15.0,
        help="leave out parts of the reconstruction further than this from the truth, such as "
        "other bones without truth; inf keeps all; default: %(default)s mm",
    )
    mesh.add_argument(
        "--target",
        choices=TARGETS,
        help="what images show: of bone the face towards the probe, of an organ all its walls; "
        f"default: what the {MAP_FILE} beside the mesh was mapped as, else bone",
    )
    mesh.add_argument("--report", type=Path, help="folder for a report with pictures")
    mesh.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_settings(mesh, TopicNames, "topics of the bag")
    add_settings(mesh, AssemblerSettings, "how the bag's images find their poses")
    mesh.set_defaults(run=run_mesh)


def run_mesh(parsed: argparse.Namespace) -> int:
    """Print how close the mesh is to the truth and how much of the truth it covers."""
    if not parsed.region_mm > 0:
        raise InputError(f"--region-mm is {parsed.region_mm}; expected more than 0")
    reconstruction, truth = read_mesh(parsed.mesh), read_mesh(parsed.truth)
    beside = parsed.mesh.parent / MAP_FILE
    mapped = read_map(beside) if beside.is_file() else None
    views = _views(parsed, mapped)
    target = parsed.target or (mapped.settings.get("target", "bone") if mapped else "bone")
    score = score_mesh(
        reconstruction, truth, views, parsed.region_mm, sound_passes=target == "organ"
    )
    if parsed.report:
        towards = _direction_of_sound(views) if views else (0.0, 1.0, 0.0)
        write_report(parsed.report, parsed.mesh.name, score, reconstruction, truth, towards=towards)
    console = Console()
    if parsed.json:
        region_mm = parsed.region_mm if np.isfinite(parsed.region_mm) else None
        console.print_json(json.dumps({"region_mm": region_mm, **score_values(score)}))
        return 0
    table = Table("measure", "value")
    for name, value in score_rows(score):
        table.add_row(name, value)
    console.print(table)
    return 0


def _direction_of_sound(views: list[View]) -> Float64[np.ndarray, "3"]:
    return np.mean([view.T_world_transducer[:3, 1] for view in views], axis=0)


def _views(parsed: argparse.Namespace, mapped: MapRecord | None) -> list[View] | None:
    if parsed.bag is None:
        return mapped.views.views() if mapped else None
    frames = frames_from_bag(
        parsed.bag, settings_from(parsed, AssemblerSettings), settings_from(parsed, TopicNames)
    )
    views = [View(frame.T_world_transducer, frame.geometry) for frame in frames]
    if not views:
        raise InputError(f"{parsed.bag} has no image with a pose; see `us-recon inspect`")
    return views
