"""From shares of tissues to acoustic properties, and on past the end of what is known."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch import Tensor

from us_recon.acoustics.tissues import tissue
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4

PROPERTIES = ("impedance_mrayl", "attenuation_db_cm_mhz", "scatter")
ORTHOGONAL_DEG = 1.0


def properties_of(names: Sequence[str]) -> Float32[Tensor, "tissues 3"]:
    """Return impedance, attenuation and backscatter of tissues by name.

    Raises:
        InputError: A name is not in the table.
    """
    rows = [[getattr(tissue(name), each) for each in PROPERTIES] for name in names]
    return torch.tensor(rows, dtype=torch.float32)


def acoustic_volume(
    properties: Float32[np.ndarray, "i j k 3"],
    known: Bool[np.ndarray, "i j k"],
    T_space_index: Matrix4,
) -> AcousticVolume:
    """Return the volume of these properties, continued from the nearest known voxel elsewhere.

    Args:
        properties: Impedance (MRayl), attenuation (dB/cm/MHz) and backscatter per voxel.
        known: Where they mean something.
        T_space_index: Affine of the image.

    Raises:
        InputError: Nothing is known, or the axes are not orthogonal.
    """
    check_orthogonal(T_space_index)
    if not known.any():
        raise InputError("acoustic volume: no voxel is known; expected an image with tissue in it")
    if not known.all():
        properties = properties[nearest_known(known, T_space_index)]
    impedance, attenuation, scatter = np.moveaxis(properties, -1, 0)
    return AcousticVolume(
        impedance_mrayl=torch.from_numpy(impedance.copy()),
        attenuation_db_cm_mhz=torch.from_numpy(attenuation.copy()),
        scatter=torch.from_numpy(scatter.copy()),
        inside=torch.from_numpy(known.astype(np.float32)),
        T_space_index=np.asarray(T_space_index, dtype=np.float64),
    )


def nearest_known(
    known: Bool[np.ndarray, "i j k"], T_space_index: Matrix4
) -> tuple[np.ndarray, ...]:
    """Return for every voxel the index of the known one that lies nearest in millimetres."""
    spacing_mm = np.linalg.norm(T_space_index[:3, :3], axis=0)
    index = ndimage.distance_transform_edt(
        ~known, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    return tuple(index)


def check_orthogonal(T_space_index: Matrix4) -> None:
    """Accept an affine whose axes stand upright on each other; they may be of different lengths.

    Raises:
        InputError: Two axes are further than a degree from a right angle.
    """
    axes = T_space_index[:3, :3] / np.linalg.norm(T_space_index[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    worst_deg = float(np.degrees(np.arcsin(np.clip(cosines, 0.0, 1.0))).max())
    if worst_deg > ORTHOGONAL_DEG:
        raise InputError(
            f"the affine is sheared: two axes are {worst_deg:.1f} degrees from a right angle, "
            f"expected {ORTHOGONAL_DEG:g} or less; resample the image to a grid with orthogonal "
            "axes, for example in 3D Slicer (Resample Scalar Volume)"
        )
