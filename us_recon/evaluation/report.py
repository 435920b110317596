"""A short report of a reconstruction against the truth: figures, and pictures to look at."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from jaxtyping import Float32, UInt8

from us_recon.evaluation.mesh_metrics import MeshScore
from us_recon.evaluation.pictures import (
    TRUTH_RGB,
    Direction,
    Painted,
    fitted_camera,
    lengthwise_up,
    render,
)
from us_recon.files import atomic_path
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery

_SIZE_PX = (1200, 400)
_RED_AT_MM = 4.0


def score_values(score: MeshScore) -> dict[str, Any]:
    """Return a score as plain values for JSON; None stands for what could not be measured."""
    return {
        "reconstruction_to_truth": asdict(score.to_truth) if score.to_truth else None,
        "reconstruction_in_region": score.in_region,
        "truth_to_reconstruction": (
            asdict(score.to_reconstruction) if score.to_reconstruction else None
        ),
        "completeness_of": "whole truth" if score.visible is None else "visible side of the truth",
        "completeness_within_1mm": score.completeness(1),
        "completeness_within_2mm": score.completeness(2),
        "truth_visible": score.visible,
        "chamfer_mm": score.chamfer_mm,
        "hd95_mm": score.hd95_mm,
    }


def score_rows(score: MeshScore) -> list[tuple[str, str]]:
    """Return a score as names and formatted values for a table."""
    rows: list[tuple[str, str]] = []
    if score.to_truth is None:
        rows.append(("reconstruction to truth", "no surface near the truth"))
    else:
        to_truth = score.to_truth
        rows += [
            ("reconstruction to truth, mean", f"{to_truth.mean_mm:.2f} mm"),
            ("median", f"{to_truth.median_mm:.2f} mm"),
            ("95th percentile", f"{to_truth.p95_mm:.2f} mm"),
            ("within 1 mm", f"{to_truth.within_1mm:.1%}"),
            ("within 2 mm", f"{to_truth.within_2mm:.1%}"),
        ]
    side = "the truth" if score.visible is None else "the truth's visible side"
    rows += [
        (f"completeness: {side} within 1 mm", f"{score.completeness(1):.1%}"),
        (f"completeness: {side} within 2 mm", f"{score.completeness(2):.1%}"),
        ("reconstruction within the region", f"{score.in_region:.1%}"),
    ]
    if score.visible is not None:
        rows.append(("truth visible to the sweep", f"{score.visible:.1%}"))
    return rows


def write_report(
    folder: Path,
    title: str,
    score: MeshScore,
    reconstruction: Mesh,
    truth: Mesh,
    *,
    towards: Direction = (0.0, 1.0, 0.0),
) -> None:
    """Write `report.md`, `report.json` and `meshes.png` to a folder.

    Args:
        folder: Where to; it is made where it does not exist.
        title: Heading of the report.
        score: Of the reconstruction.
        reconstruction: The reconstructed surface.
        truth: The true surface, not empty.
        towards: Direction of view of the pictures in the world, best that of the sound.

    Raises:
        InputError: The folder cannot be written to.
    """
    table = "\n".join(f"| {name} | {value} |" for name, value in score_rows(score))
    text = (
        f"# {title}\n\n| measure | value |\n|---|---|\n{table}\n\n"
        "![reconstruction, its distance to the truth, truth](meshes.png)\n\n"
        f"From above: the reconstruction; the same coloured by its distance to the truth (blue 0, "
        f"red {_RED_AT_MM:g} mm and more); the truth.\n"
    )
    with atomic_path(folder / "report.md") as partial:
        partial.write_text(text)
    with atomic_path(folder / "report.json") as partial:
        partial.write_text(json.dumps(score_values(score), indent=2) + "\n")
    picture = comparison_picture(reconstruction, truth, towards)
    with atomic_path(folder / "meshes.png") as partial:
        cv2.imwrite(str(partial), picture[..., ::-1])


def comparison_picture(
    reconstruction: Mesh, truth: Mesh, towards: Direction
) -> UInt8[np.ndarray, "height width 3"]:
    """Return reconstruction, its distance to the truth and the truth, one above the other (RGB)."""
    up = lengthwise_up(truth.vertices_mm, towards)
    camera = fitted_camera(truth.vertices_mm, towards, up, _SIZE_PX)
    rows = [
        [Painted(reconstruction)],
        [Painted(reconstruction, distance_colours(reconstruction, truth))],
        [Painted(truth, TRUTH_RGB)],
    ]
    return np.concatenate([render(row, camera, _SIZE_PX) for row in rows])


def distance_colours(reconstruction: Mesh, truth: Mesh) -> Float32[np.ndarray, "vertices 3"]:
    """Return a colour (RGB, 0 to 1) for each vertex by its distance to the truth."""
    if reconstruction.is_empty:
        return np.zeros((0, 3), np.float32)
    distances_mm = SurfaceQuery(truth).distances_mm(reconstruction.vertices_mm)
    colours = matplotlib.colormaps["turbo"](np.clip(distances_mm / _RED_AT_MM, 0, 1))
    return colours[:, :3].astype(np.float32)
