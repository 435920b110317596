"""Volumes in files of any known format.

A volume of the patient (an MRI) is held in RAS+ millimetres; ITK's formats store it in LPS, which
is converted here. A volume of a tracker's frame (a reconstruction in ``world``) has no anatomical
axes: written and read with ``Frame.FILE``, its coordinates stand in the file as they are, as PLUS
does it. NIfTI has no other coordinates than RAS+, so there both are the same.
"""

from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.io.metaimage import read_metaimage, write_metaimage
from us_recon.io.nifti import read_nifti, write_nifti
from us_recon.io.nrrd import read_nrrd, write_nrrd
from us_recon.io.raster import Raster, Space

FORMATS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Frame(StrEnum):
    """Which coordinates a volume is held in."""

    PATIENT = "patient"
    """RAS+, whatever the file's own convention is."""
    FILE = "file"
    """Those of the file, unchanged."""


def read_volume(path: Path | str, frame: Frame = Frame.PATIENT, index: int | None = None) -> Volume:
    """Read a volume of one value per voxel.

    Args:
        path: NIfTI, MetaImage or NRRD file.
        frame: Coordinates of the result. A MetaImage counts as LPS, as in ITK; an NRRD file that
            does not name its space cannot be read as `Frame.PATIENT`.
        index: Which volume of a NIfTI series.

    Raises:
        InputError: The file is missing, damaged, of an unknown format, or not a scalar volume.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix in (".nii", ".nii.gz"):
        return read_nifti(path, index)
    raster = read_metaimage(path) if suffix in (".mha", ".mhd") else read_nrrd(path)
    data = raster.data
    if raster.T_space_index is None or data.ndim != 3 or data.size == 0:
        raise InputError(
            f"{path} has shape {data.shape[::-1]}; expected one value per voxel in 3-D"
        )
    return Volume(data.astype(np.float32).T.copy(), _from_file(path, raster, frame))


def write_volume(
    path: Path | str,
    volume: Volume,
    frame: Frame = Frame.PATIENT,
    dtype: type[np.generic] = np.float32,
) -> None:
    """Write a volume in the format that the file name asks for.

    Args:
        path: File to write, ending in one of `FORMATS`.
        volume: The volume, in RAS+ or, with `Frame.FILE`, in any frame.
        frame: Whether its coordinates are converted to the format's convention.
        dtype: Type of the stored values; numbers are rounded and limited to its range.

    Raises:
        InputError: The ending is unknown, or the format cannot hold the volume.
    """
    path = Path(path)
    check_writable(path)
    suffix = _suffix(path)
    stored = as_type(volume.data, dtype)
    if suffix in (".nii", ".nii.gz"):
        write_nifti(path, Volume(stored.astype(np.float32), volume.T_space_index), dtype)
        return
    patient = frame is Frame.PATIENT
    T = _RAS_LPS @ volume.T_space_index if patient else volume.T_space_index
    space = Space.LPS if patient else Space.UNSPECIFIED
    raster = Raster(stored.T, {}, T, space)
    (write_metaimage if suffix == ".mha" else write_nrrd)(path, raster)


def check_writable(path: Path) -> None:
    """Accept a file name that `write_volume` can serve, before the work is done.

    Raises:
        InputError: The ending is unknown.
    """
    if _suffix(path) not in (".mha", ".nrrd", ".nii", ".nii.gz"):
        raise InputError(f"{path}: volumes are written as .mha, .nrrd, .nii or .nii.gz")


def as_type(
    data: Float32[np.ndarray, "i j k"], dtype: type[np.generic]
) -> Shaped[np.ndarray, "i j k"]:
    """Return values in another type: integers rounded and limited to their range, NaN as 0."""
    if issubclass(dtype, np.integer):
        limits = np.iinfo(dtype)
        rounded = np.rint(np.nan_to_num(data.astype(np.float64)))
        return np.clip(rounded, limits.min, limits.max).astype(dtype)
    return data.astype(dtype)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise InputError(f"{path}: unknown format; expected a name ending in {', '.join(FORMATS)}")


def _from_file(path: Path, raster: Raster, frame: Frame) -> Float64[np.ndarray, "4 4"]:
    T = raster.T_space_index
    assert T is not None  # the caller has looked
    if frame is Frame.FILE or raster.space is Space.RAS:
        return T
    if raster.space is Space.LPS:
        return np.asarray(_RAS_LPS @ T)
    raise InputError(
        f"{path} does not name its space; expected 'space: left-posterior-superior' or "
        "'right-anterior-superior' in the header"
    )
