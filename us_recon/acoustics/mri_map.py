"""MRI to acoustic properties: calibrated to the patient, learned from tissue classes.

DiffUS (2025) learns impedance from raw intensity. Here the intensities are first put on the scale
of the patient's own fluid, grey and white matter; a network then tells how much of each tissue a
voxel holds, and the properties are those of the table, mixed by these shares.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from us_recon.acoustics.classifier import CLASSES, trained
from us_recon.acoustics.contrasts import contrast_of
from us_recon.acoustics.features import features_of
from us_recon.acoustics.histogram import ClassIntensities
from us_recon.acoustics.mixing import acoustic_volume, check_orthogonal, properties_of
from us_recon.acoustics.mri_checks import check_brain, check_image
from us_recon.acoustics.sulci import sulcus_shares
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.settings import setting

TISSUES_OF_MAP = (*CLASSES, "sulcus")
CSF, GREY, WHITE, TUMOUR = (
    CLASSES.index(name) for name in ("csf", "grey_matter", "white_matter", "tumour")
)
HARD = ("air", "skull", "cancellous_bone")
AROUND_BRAIN = ["air", "skull", "cancellous_bone", "fat", "skin"]
BRAIN = [CSF, GREY, WHITE]


@dataclass(frozen=True)
class MriMapSettings:
    """How an MRI becomes a map of acoustic properties."""

    sulcus_width_mm: float = setting(
        3.0,
        "Fluid narrower than this between grey matter holds membranes and vessels and is "
        "echogenic, as in a sulcus; other fluid is clear, as in a ventricle. 0: all is clear, and "
        "no sulci are told from cortex either.",
        unit="mm",
        minimum=0.0,
        maximum=20.0,
    )
    find_lesion: bool = setting(
        True, "Whether tissue brighter than grey matter in FLAIR or T2 may be a lesion."
    )
    skull: str = setting(
        "auto",
        "Whether the image shows skull and scalp; auto: unless padding surrounds the brain.",
        choices=("auto", "shown", "absent"),
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
    check_orthogonal(volume.T_space_index)
    check_image(volume)
    seen = features_of(volume, kind)
    known = seen.known
    check_brain(seen, volume, contrast)
    shares = trained()[contrast].shares(seen.values[:, known].T.copy())
    excluded = [] if settings.find_lesion else ["tumour"]
    if settings.skull == "absent" or (settings.skull == "auto" and seen.bare):
        excluded += AROUND_BRAIN
    shares = _decided(_without(shares, excluded))
    if lesion is not None:
        shares = _with_lesion(shares, known, lesion, volume)
    return TissueShares(
        _with_sulci(shares, known, volume, settings.sulcus_width_mm), known, seen.intensities
    )


def _without(shares: Float32[Tensor, "n c"], excluded: list[str]) -> Float32[Tensor, "n c"]:
    """Return shares without some classes; a voxel that was nothing else becomes fluid."""
    shares = shares.clone()
    for name in excluded:
        shares[:, CLASSES.index(name)] = 0.0
    shares[:, CSF] += 1e-6
    return shares / shares.sum(dim=1, keepdim=True)


def _decided(shares: Float32[Tensor, "n c"]) -> Float32[Tensor, "n c"]:
    """Return shares in which air and bone are there or not, with a soft limit.

    A share is as much doubt as mixture. Between soft tissues that is no matter, but two per cent of
    bone in fluid would echo more than grey matter beside white.
    """
    hard = [CLASSES.index(name) for name in HARD]
    before = shares[:, hard].sum(dim=1, keepdim=True)
    ramp = ((before - 0.25) / 0.5).clamp(0.0, 1.0)
    after = ramp * ramp * (3.0 - 2.0 * ramp)
    decided = shares * (1.0 - after) / (1.0 - before).clamp(min=1e-6)
    decided[:, hard] = shares[:, hard] * after / before.clamp(min=1e-6)
    return decided / decided.sum(dim=1, keepdim=True)


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


def _with_sulci(
    shares: Float32[Tensor, "n c"],
    known: Bool[np.ndarray, "i j k"],
    volume: Volume,
    width_mm: float,
) -> Float32[Tensor, "n tissues"]:
    """Return the shares with that of sulci, which is taken from fluid, grey and white matter."""
    shares = torch.cat([shares, torch.zeros_like(shares[:, :1])], dim=1)
    if width_mm > 0.0:
        fluid, grey, white = (shares[:, each] for each in BRAIN)
        sulci = sulcus_shares(fluid, grey, white, known, volume.spacing_mm, width_mm)
        shares[:, BRAIN] -= sulci
        shares[:, -1] = sulci.sum(dim=1)
    return shares
