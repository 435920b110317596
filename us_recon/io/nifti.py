"""Read and write NIfTI volumes, in RAS+ millimetres as nibabel gives them."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float64
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.imaging.volume import Volume

_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_BROKEN_FILE = (EOFError, OSError, ValueError, zlib.error, gzip.BadGzipFile, HeaderDataError)


def read_nifti(path: Path | str, index: int | None = None) -> Volume:
    """Read one volume of a NIfTI-1 or NIfTI-2 file.

    Oblique, mirrored (negative determinant) and sheared affines are kept as they are. Voxels
    without a finite value become NaN: nothing is known there.

    Args:
        path: File ``.nii``, ``.nii.gz`` or ``.hdr``/``.img``.
        index: Which volume of a series, from 0; needed only where there are several.

    Raises:
        InputError: Not a NIfTI file, damaged, without position in space, not one scalar volume,
            empty, or without a single finite voxel.
    """
    path = Path(path)
    try:
        loaded = nib.load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist or cannot be read") from error
    except (ImageFileError, *_BROKEN_FILE) as error:
        raise InputError(f"{path} is not a NIfTI file that can be read: {error}") from error
    if not isinstance(loaded, nib.nifti1.Nifti1Pair):  # the base of all four NIfTI classes
        raise InputError(f"{path} is {type(loaded).__name__}; expected NIfTI (.nii or .nii.gz)")
    image: Any = loaded  # nibabel's methods are not annotated
    selection = _one_volume(path, image.shape, index)
    stored = np.dtype(image.dataobj.dtype)
    if stored.fields is not None or stored.kind not in "biuf":
        raise InputError(f"{path} holds {stored} values; expected one number per voxel")
    try:
        data = np.asarray(image.dataobj[selection], dtype=np.float32)
    except _BROKEN_FILE as error:
        raise InputError(
            f"{path}: the voxels cannot be read ({error}); the file is truncated or damaged, "
            "copy it again"
        ) from error
    finite = np.isfinite(data)
    if not finite.any():
        raise InputError(f"{path} holds no finite voxel; expected an image")
    return Volume(np.where(finite, data, np.float32(np.nan)), _affine_mm(path, image))


def write_nifti(path: Path | str, volume: Volume, dtype: type[np.generic] = np.float32) -> None:
    """Write a volume; its space is taken as RAS+ millimetres.

    Args:
        path: File ``.nii`` or ``.nii.gz``.
        volume: The volume.
        dtype: Type of the stored values; see `us_recon.io.volumes.as_type`.
    """
    make_image: Any = nib.Nifti1Image
    image = make_image(volume.data.astype(dtype), volume.T_space_index, dtype=dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.T_space_index, code=1)
    image.set_qform(volume.T_space_index, code=1, strip_shears=True)
    with atomic_path(path) as partial:
        nib.save(image, partial)


def _one_volume(path: Path, shape: tuple[int, ...], index: int | None) -> tuple[slice | int, ...]:
    if len(shape) < 3 or 0 in shape:
        raise InputError(f"{path} has shape {shape}; expected a volume of three dimensions")
    count = int(np.prod(shape[3:]))
    if count > 1 and index is None:
        raise InputError(
            f"{path} has shape {shape}, {count} volumes; choose one by its index, 0 to {count - 1}"
        )
    chosen = index or 0
    if not 0 <= chosen < count:
        raise InputError(f"{path}: volume index is {chosen}; expected 0 to {count - 1}")
    further = np.unravel_index(chosen, shape[3:], order="F") if shape[3:] else ()
    return (slice(None), slice(None), slice(None), *(int(position) for position in further))


def _affine_mm(path: Path, image: Any) -> Float64[np.ndarray, "4 4"]:
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise InputError(
            f"{path} does not say where it lies in space (sform and qform codes are 0); "
            "set one, for example with nifti_tool or in 3D Slicer"
        )
    unit = header.get_xyzt_units()[0]
    if unit not in _MM_PER_UNIT:
        raise InputError(f"{path}: the unit of length is {unit!r}; expected mm, m or um")
    T = np.asarray(image.affine, dtype=np.float64).copy()
    T[:3] *= _MM_PER_UNIT[unit]
    determinant = np.linalg.det(T[:3, :3]) if np.all(np.isfinite(T)) else np.nan
    if not np.isfinite(determinant) or abs(determinant) < 1e-9:
        raise InputError(
            f"{path}: the affine {T.tolist()} has determinant {determinant:.3g}; "
            "expected three independent axes"
        )
    return T
