"""Write and read the acoustic properties of a patient as one NIfTI file of four volumes."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.io.nifti import read_nifti

VOLUMES = ("impedance_mrayl", "attenuation_db_cm_mhz", "scatter", "inside")
"""Order of the volumes in the file."""

INTENT = "acoustic"
ENDINGS = (".nii", ".nii.gz")


def check_acoustic_path(path: Path) -> None:
    """Accept a file name that `write_acoustic_volume` can serve, before the work is done.

    Raises:
        InputError: The ending is unknown.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"{path}: acoustic volumes are written as {' or '.join(ENDINGS)}")


def write_acoustic_volume(path: Path | str, volume: AcousticVolume) -> None:
    """Write a volume; gradients are left behind.

    Args:
        path: File ``.nii`` or ``.nii.gz``; see `VOLUMES` for the order of what it holds.
        volume: The properties, on any device.

    Raises:
        InputError: The ending is unknown, or the file cannot be written.
    """
    check_acoustic_path(Path(path))
    parts = [getattr(volume, name).detach().cpu().numpy() for name in VOLUMES]
    make_image: Any = nib.Nifti1Image
    image = make_image(np.stack(parts, axis=-1).astype(np.float32), volume.T_space_index)
    image.header.set_xyzt_units("mm")
    image.header.set_intent("none", name=INTENT)
    image.header["descrip"] = b"MRayl; dB/cm/MHz; backscatter; inside"
    image.set_sform(volume.T_space_index, code=1)
    image.set_qform(volume.T_space_index, code=1, strip_shears=True)
    with atomic_path(path) as partial:
        nib.save(image, partial)


def read_acoustic_volume(path: Path | str) -> AcousticVolume:
    """Read a volume that `write_acoustic_volume` wrote.

    Raises:
        InputError: The file is missing, damaged, or another kind of image.
    """
    path = Path(path)
    check_acoustic_path(path)
    first = read_nifti(path, index=0)  # tells what is wrong with a file that is no NIfTI
    image: Any = nib.load(path)
    if image.header.get_intent()[2] != INTENT or image.shape[3:] != (len(VOLUMES),):
        raise InputError(
            f"{path} has shape {image.shape} and is no acoustic volume; write one with "
            "`us-recon acoustics`"
        )
    rest = [read_nifti(path, index=number).data for number in range(1, len(VOLUMES))]
    parts = [torch.from_numpy(data.copy()) for data in (first.data, *rest)]
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise InputError(f"{path} holds values that are not finite; write it anew")
    values = dict(zip(VOLUMES, parts, strict=True))
    assert {field.name for field in fields(AcousticVolume)} == {*VOLUMES, "T_space_index"}
    return AcousticVolume(**values, T_space_index=first.T_space_index)
