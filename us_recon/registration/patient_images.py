"""What is known of a patient before the scan: one MRI or several, and what they say of its tissue.

The tissue comes from the renderer's map, and its levels are further images by which an ultrasound
image may be explained; LC2 explains it by the MRI alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import affine_transform

from us_recon.acoustics.channels import tissue_levels
from us_recon.acoustics.hounsfield import acoustic_volume_from_ct
from us_recon.acoustics.mri_map import acoustic_volume_from_mri
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import ConfigError
from us_recon.imaging.volume import Volume

CT = "ct"


@dataclass(frozen=True, eq=False)
class PatientImages:
    """Images of one patient in one space.

    Attributes:
        mris: One or more; the first one gives the grid.
        acoustics: The tissue of the first, None where its contrast is not known.
    """

    mris: tuple[Volume, ...]
    acoustics: AcousticVolume | None = None

    @property
    def first(self) -> Volume:
        """The MRI whose grid all share."""
        return self.mris[0]

    @cached_property
    def tissue(self) -> tuple[Volume, ...]:
        """Levels of the tissue's edges and backscatter in dB; empty where it is not known."""
        if self.acoustics is None:
            return ()
        levels = tissue_levels(self.acoustics)
        return tuple(Volume(level.numpy(), self.first.T_space_index) for level in levels)


def patient_images(volumes: Sequence[Volume], contrast: str = "") -> PatientImages:
    """Gather a patient's images; where the contrast is known the tissue is mapped (some seconds).

    Args:
        volumes: MRIs that lie on each other (RAS+ millimetres), or a CT.
        contrast: What the first one is: t1, t2, flair or ct; empty where that is not known.

    Raises:
        ConfigError: There is no volume.
        InputError: The image is not what is said.
    """
    if not volumes:
        raise ConfigError("0 MRIs; expected one or more")
    first = volumes[0]
    mris = (first, *(resampled(volume, first) for volume in volumes[1:]))
    if not contrast:
        return PatientImages(mris)
    if contrast == CT:
        return PatientImages(mris, acoustic_volume_from_ct(first))
    return PatientImages(mris, acoustic_volume_from_mri(first, contrast))


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
