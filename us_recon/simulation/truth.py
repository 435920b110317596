"""The truth of a virtual acquisition as files."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from jaxtyping import Float64

from us_recon.files import atomic_path
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh_files import write_mesh
from us_recon.simulation.cell import ScanningCell

MRI_FILE = "mri.nii.gz"
TRANSFORMS_FILE = "transforms.json"


def write_truth(cell: ScanningCell, folder: Path) -> list[Path]:
    """Write true surfaces, transforms, target points and the MRI of a cell.

    Args:
        cell: The virtual acquisition.
        folder: Gets `<surface>.ply` in the world, `transforms.json` and `mri.nii.gz`; it is made
            where it is missing.

    Returns:
        The files, in mm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, mesh in cell.true_meshes().items():
        files.append(folder / f"{name}.ply")
        write_mesh(mesh, files[-1])
    files.append(folder / TRANSFORMS_FILE)
    with atomic_path(files[-1]) as partial:
        partial.write_text(json.dumps(transforms(cell), indent=1) + "\n")
    files.append(folder / MRI_FILE)
    with atomic_path(files[-1]) as partial:
        _write_mri(cell.mri, partial)
    return files


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
        "targets_world": _rounded(transform_points(cell.T_world_mri, targets_mri)),
        "image_stamps_ns": cell.image_stamps_ns.tolist(),
        "T_world_transducer": _rounded(cell.T_world_transducer, 7),
    }


def _rounded(values: Float64[np.ndarray, "..."], decimals: int = 4) -> list[Any]:
    return list(np.round(values, decimals).tolist())


def _write_mri(mri: Volume, path: Path) -> None:
    data = np.clip(np.rint(mri.data), 0, np.iinfo(np.int16).max).astype(np.int16)
    image = nibabel.nifti1.Nifti1Image(data, mri.T_space_index)
    image.header.set_xyzt_units("mm")
    nibabel.loadsave.save(image, path)
