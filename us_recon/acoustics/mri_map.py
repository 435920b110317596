"""MRI to acoustic properties: calibrated to the patient, learned from tissue classes.

DiffUS (2025) learns impedance from raw intensity. Here the intensities are first put on the scale
of the patient's own fluid, grey and white matter; a network then tells how much of each tissue a
voxel holds, and the properties are those of the table, mixed by these shares.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch import Tensor

from us_recon.acoustics.classifier import CLASSES, trained
from us_recon.acoustics.contrasts import contrast_of
from us_recon.acoustics.features import features_of
from us_recon.acoustics.histogram import ClassIntensities
from us_recon.acoustics.mixing import acoustic_volume, check_orthogonal, properties_of
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.settings import setting

TISSUES_OF_MAP = (*CLASSES, "sulcus")
CSF, TUMOUR, DURA = (CLASSES.index(name) for name in ("csf", "tumour", "dura"))


@dataclass(frozen=True)
class MriMapSettings:
    """How an MRI becomes a map of acoustic properties."""

    sulcus_width_mm: float = setting(
        5.0,
        "Fluid narrower than this holds membranes and vessels and is echogenic, as in a sulcus; "
        "wider fluid is clear, as in a ventricle. 0: all fluid is clear.",
        unit="mm",
        minimum=0.0,
        maximum=20.0,
    )
    find_lesion: bool = setting(
        True, "Whether tissue brighter than grey matter in FLAIR or T2 may be a lesion."
    )


@dataclass(frozen=True, eq=False)
class TissueShares:
    """How much of each tissue every voxel holds.

    Attributes:
        shares: Per known voxel, in the order of `TISSUES_OF_MAP`; they sum to 1.
        known: Where there is an image.
        intensities: The calibration to this patient.
    """

    shares: Float32[Tensor, "n tissues"]
    known: Bool[np.ndarray, "i j k"]
    intensities: ClassIntensities


def acoustic_volume_from_mri(
    volume: Volume,
    contrast: str,
    settings: MriMapSettings | None = None,
    lesion: Volume | None = None,
) -> AcousticVolume:
    """Return the acoustic properties that an MRI of the head or a part of it tells.

    Args:
        volume: The MRI; NaN and a constant that pads it count as unknown.
        contrast: "t1" (also contrast-enhanced), "t2" or "flair".
        settings: See `MriMapSettings`.
        lesion: A mask on the same grid, 0 to 1: how much of a voxel is lesion.

    Raises:
        InputError: The contrast is unknown, the affine is sheared, or the image is no MRI of a
            head of this contrast.
    """
    check_orthogonal(volume.T_space_index)
    found = tissue_shares(volume, contrast, settings, lesion)
    properties = np.zeros((*found.known.shape, 3), np.float32)
    properties[found.known] = (found.shares @ properties_of(TISSUES_OF_MAP)).numpy()
    return acoustic_volume(properties, found.known, volume.T_space_index)


def tissue_shares(
    volume: Volume,
    contrast: str,
    settings: MriMapSettings | None = None,
    lesion: Volume | None = None,
) -> TissueShares:
    """Return how much of each tissue the voxels of an MRI hold; see `acoustic_volume_from_mri`."""
    settings = settings or MriMapSettings()
    kind = contrast_of(contrast)
    features, known, intensities = features_of(volume, kind)
    shares = trained()[contrast].shares(features[:, known].T.copy())
    if not settings.find_lesion:
        shares[:, TUMOUR] = 0.0
        shares /= shares.sum(dim=1, keepdim=True)
    if lesion is not None:
        shares = _with_lesion(shares, known, lesion, volume)
    sulcus = _sulcal(shares[:, CSF], known, volume.spacing_mm, settings.sulcus_width_mm)
    shares = torch.cat([shares, (sulcus * shares[:, CSF])[:, None]], dim=1)
    shares[:, CSF] *= 1.0 - sulcus
    return TissueShares(shares, known, intensities)


def _with_lesion(
    shares: Float32[Tensor, "n c"],
    known: Bool[np.ndarray, "i j k"],
    lesion: Volume,
    volume: Volume,
) -> Float32[Tensor, "n c"]:
    same = lesion.data.shape == volume.data.shape and np.allclose(
        lesion.T_space_index, volume.T_space_index, atol=1e-3
    )
    if not same:
        raise InputError(
            f"the lesion mask has shape {lesion.data.shape} and its own affine; expected the MRI's "
            f"grid, {volume.data.shape}: resample the mask to the MRI"
        )
    part = torch.from_numpy(np.clip(np.nan_to_num(lesion.data[known]), 0.0, 1.0))[:, None]
    shares = shares * (1.0 - part)
    shares[:, TUMOUR] += part[:, 0]
    return shares


def _sulcal(
    fluid: Float32[Tensor, " n"],
    known: Bool[np.ndarray, "i j k"],
    spacing_mm: np.ndarray,
    width_mm: float,
) -> Float32[Tensor, " n"]:
    """Return how much of the fluid lies in clefts narrower than `width_mm`, 0 to 1."""
    if width_mm == 0.0:
        return torch.zeros_like(fluid)
    is_fluid = np.zeros(known.shape, bool)
    is_fluid[known] = (fluid > 0.5).numpy()
    # Opening by a ball of half the width; voxels half filled count to the wide fluid beside them.
    inner = ndimage.distance_transform_edt(is_fluid, sampling=spacing_mm) > 0.5 * width_mm
    if not inner.any():
        return torch.ones_like(fluid)
    reach_mm = ndimage.distance_transform_edt(~inner, sampling=spacing_mm)
    narrow = np.clip((reach_mm - 0.5 * width_mm) / (0.5 * width_mm), 0.0, 1.0)
    return torch.from_numpy(narrow[known].astype(np.float32))
