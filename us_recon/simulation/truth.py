"""The truth of a virtual acquisition as files."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from jaxtyping import Bool, Float64

from us_recon.evaluation.visibility import View, visible_points
from us_recon.files import atomic_path
from us_recon.imaging.volume import Volume
from us_recon.io.landmarks import write_tag_pairs
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import write_mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, vertex_normals
from us_recon.simulation.cell import ScanningCell

MRI_FILE = "mri.nii.gz"
TRANSFORMS_FILE = "transforms.json"
LANDMARKS_FILE = "landmarks.tag"
VISIBILITY_FILE = "visibility.npz"


def write_truth(cell: ScanningCell, folder: Path) -> list[Path]:
    """Write what is known of a virtual acquisition.

    Args:
        cell: The virtual acquisition.
        folder: Gets every true surface in the world as `<surface>.ply`; for the first of them,
            which a mapper should find, which vertices some image could see (`visibility.npz`) and
            that part as `<surface>_visible.ply`; `landmarks.tag`, points of the MRI and where they
            lie in the world; `transforms.json` and `mri.nii.gz`. It is made where it is missing.

    Returns:
        The files, in mm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    meshes = cell.true_meshes()
    for name, mesh in meshes.items():
        files.append(folder / f"{name}.ply")
        write_mesh(mesh, files[-1])
    if meshes:
        name, mesh = next(iter(meshes.items()))
        visible = visible_vertices(cell, mesh)
        files.append(folder / VISIBILITY_FILE)
        with atomic_path(files[-1]) as partial:
            np.savez_compressed(partial, surface=np.array(name), visible=visible)
        files.append(folder / f"{name}_visible.ply")
        write_mesh(part_of(mesh, visible), files[-1])
    targets_mri = cell.targets_mm()
    files.append(folder / LANDMARKS_FILE)
    write_tag_pairs(files[-1], targets_mri, cell.in_world(targets_mri), "MRI, then the world; mm")
    files.append(folder / TRANSFORMS_FILE)
    with atomic_path(files[-1]) as partial:
        partial.write_text(json.dumps(transforms(cell), indent=1) + "\n")
    files.append(folder / MRI_FILE)
    with atomic_path(files[-1]) as partial:
        _write_mri(cell.mri, partial)
    return files


def visible_vertices(cell: ScanningCell, mesh: Mesh) -> Bool[np.ndarray, " vertices"]:
    """Tell which vertices of a true surface some image of the sweep could see."""
    views = [View(T, cell.geometry) for T in cell.T_world_transducer]
    return visible_points(SurfaceQuery(mesh), mesh.vertices_mm, vertex_normals(mesh), views)


def part_of(mesh: Mesh, kept: Bool[np.ndarray, " vertices"]) -> Mesh:
    """Return the triangles all of whose vertices are kept; the vertices are numbered anew."""
    number = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    triangles = mesh.triangles[kept[mesh.triangles].all(axis=1)]
    return Mesh(mesh.vertices_mm[kept], number[triangles])


def transforms(cell: ScanningCell) -> dict[str, Any]:
    """Return the true transforms and target points of a cell as plain lists, in mm."""
    targets_mri = cell.targets_mm()
    return {
        "unit": "mm; p_target = T_target_source @ p_source, row-major 4x4",
        "scene": cell.scene.name,
        "seed": cell.seed,
        "surfaces": list(cell.scene.solids),
        "T_world_mri": cell.T_world_mri.tolist(),
        "T_probe_transducer": cell.T_probe_transducer.tolist(),
        "T_probe_transducer_sent": cell.T_probe_transducer_sent.tolist(),
        "T_world_mri_guess_5mm_5deg": cell.initial_T_world_mri(5.0, 5.0).tolist(),
        "targets_mri": _rounded(targets_mri),
        "targets_world": _rounded(cell.in_world(targets_mri)),
        "image_stamps_ns": cell.image_stamps_ns.tolist(),
        "T_world_transducer": _rounded(cell.T_world_transducer, 7),
    }


def _rounded(values: Float64[np.ndarray, "..."], decimals: int = 4) -> list[Any]:
    return list(np.round(values, decimals).tolist())


def _write_mri(mri: Volume, path: Path) -> None:
    limits = np.iinfo(np.int16)  # CT has negative values, an MRI has none
    data = np.clip(np.rint(mri.data), limits.min, limits.max).astype(np.int16)
    image = nibabel.nifti1.Nifti1Image(data, mri.T_space_index)
    image.header.set_xyzt_units("mm")
    nibabel.loadsave.save(image, path)
