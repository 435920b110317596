"""What is known of a patient before the scan: one MRI or several, and what they say of its tissue.

The tissue comes from the renderer's map, and its levels are further images by which an ultrasound
image may be explained; LC2 explains it by the MRI alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from us_recon.acoustics.channels import tissue_levels
from us_recon.acoustics.hounsfield import acoustic_volume_from_ct
from us_recon.acoustics.mri_map import acoustic_volume_from_mri
from us_recon.errors import ConfigError
from us_recon.imaging.volume import Volume

CT = "ct"


@dataclass(frozen=True, eq=False)
class PatientImages:
    """Images of one patient in one space.

    Attributes:
        mris: One or more; the first one gives the grid.
        tissue: Levels of the tissue's edges and of its backscatter in dB, on the grid of the first;
            empty where the tissue is not known.
    """

    mris: tuple[Volume, ...]
    tissue: tuple[Volume, ...] = ()

    @property
    def first(self) -> Volume:
        """The MRI whose grid all share."""
        return self.mris[0]


def patient_images(volumes: Sequence[Volume], contrasts: Sequence[str] = ()) -> PatientImages:
    """Gather a patient's images.

    Of a single one whose contrast is known the tissue is mapped, which takes some seconds; several
    already say more than one, and are taken as they are.

    Args:
        volumes: MRIs that lie on each other (RAS+ millimetres), or a CT.
        contrasts: What each is: t1, t2, flair or ct; empty where that is not known.

    Raises:
        ConfigError: There is no volume, or not as many contrasts.
        InputError: The image is not what is said.
    """
    if not volumes or (contrasts and len(contrasts) != len(volumes)):
        raise ConfigError(
            f"{len(volumes)} MRIs and {len(contrasts)} contrasts; expected one MRI or more, and as "
            "many contrasts or none"
        )
    first = volumes[0]
    mris = (first, *(resampled(volume, first) for volume in volumes[1:]))
    if len(mris) > 1 or not contrasts or not contrasts[0]:
        return PatientImages(mris)
    is_ct = contrasts[0] == CT
    made = (
        acoustic_volume_from_ct(first) if is_ct else acoustic_volume_from_mri(first, contrasts[0])
    )
    levels = tissue_levels(made)
    return PatientImages(mris, tuple(Volume(one.numpy(), first.T_space_index) for one in levels))


def resampled(volume: Volume, grid: Volume) -> Volume:
    """Return a volume on the voxels of another, trilinearly; NaN where it holds nothing."""
    same = np.allclose(volume.T_space_index, grid.T_space_index, atol=1e-4)
    if same and volume.data.shape == grid.data.shape:
        return volume
    T = volume.T_index_space @ grid.T_space_index
    data = affine_transform(
        volume.data.astype(np.float32), T[:3, :3], T[:3, 3], grid.data.shape, order=1, cval=np.nan
    )
    return Volume(data, grid.T_space_index)
