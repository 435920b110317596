"""The MRI side of the similarity: channels that explain images, and where there is anything.

LC2's are intensity and gradient magnitude of each MRI. Where the tissue is known, the level of its
backscatter joins them. On simulated brains each family alone does as well as both
(``python -m benchmarks.brain_registration``); where these are made ever less like their MRI, both
find the pose a little more often, and what they score tells right poses from wrong ones better.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import binary_erosion, gaussian_filter, label, uniform_filter
from torch import Tensor

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.volume import Volume
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.sampling import interpolate
from us_recon.registration.settings import RegistrationSettings

INTENSITY, GRADIENT, INSIDE = 0, 1, -1
"""Of the first MRI, and the mask."""


@dataclass(frozen=True, eq=False)
class MriChannels:
    """Volumes on the MRI's grid, to be sampled at poses.

    Attributes:
        data: Intensity and gradient magnitude of each MRI, levels of the tissue, all scaled to a
            variance of 1, and a mask, as the last axis of the array.
        T_index_mri: Maps MRI millimetres to voxel indices.
        ridge: Damping of the local fit for each channel but the mask.
        tissue_levels: How many of the channels, the last ones before the mask, are the tissue's.
    """

    data: Float32[np.ndarray, "i j k _"]
    T_index_mri: Float64[np.ndarray, "4 4"]
    ridge: tuple[float, ...]
    tissue_levels: int = 0

    @cached_property
    def lc2(self) -> "MriChannels":
        """The channels without the tissue's; the same ones where there are no others."""
        count = len(self.ridge) - self.tissue_levels
        if count in (0, len(self.ridge)):
            return self
        kept = np.concatenate([self.data[..., :count], self.data[..., INSIDE:]], axis=-1)
        return MriChannels(kept, self.T_index_mri, self.ridge[:count])

    def sample(
        self, points_world_mm: Float32[Tensor, "n 3"], T_mri_world: Float32[Tensor, "4 4"]
    ) -> Float32[Tensor, "channels n"]:
        """Interpolate trilinearly; outside the volume all channels are 0. Gradients flow.

        The readable twin of `sample_fast`.
        """
        points_mm = points_world_mm @ T_mri_world[:3, :3].T + T_mri_world[:3, 3]
        to_index = torch.from_numpy(self.T_index_mri.astype(np.float32))
        index = points_mm @ to_index[:3, :3].T + to_index[:3, 3]
        grid = 2.0 * index / (torch.tensor(self.data.shape[:3]) - 1) - 1.0
        volumes = torch.from_numpy(self.data).permute(3, 0, 1, 2)[None]
        return F.grid_sample(
            volumes, grid.flip(-1)[None, None, None], padding_mode="zeros", align_corners=True
        )[0, :, 0, 0]

    def sample_fast(
        self, points_world_mm: Float32[Tensor, "n 3"], T_mri_world: Float64[np.ndarray, "4 4"]
    ) -> Float32[Tensor, "channels n"]:
        """Interpolate as `sample` does, in compiled code and without gradients."""
        T = self.T_index_mri @ T_mri_world
        return torch.from_numpy(interpolate(self.data, points_world_mm.numpy(), T))


def make_channels(images: Volume | PatientImages, settings: RegistrationSettings) -> MriChannels:
    """Prepare a patient's images for registration.

    Voxels that are not finite, and zeros that reach the volume's border (what resampling and skull
    stripping leave behind), hold nothing: they and their neighbours are outside.

    Args:
        images: One MRI, or all that is known; RAS+ millimetres.
        settings: Blur, patch size and damping.

    Raises:
        ConfigError: The settings ask for tissue that is not known.
        InputError: An MRI is thinner than 3 voxels, or holds nothing but one value.
    """
    known_of = images if isinstance(images, PatientImages) else PatientImages((images,))
    first = known_of.first
    blur_voxels = settings.blur_mm / first.spacing_mm
    lc2: list[Float32[np.ndarray, "i j k"]] = []
    inside = np.ones(first.data.shape, dtype=bool)
    for volume in known_of.mris:
        intensity, known = _smooth(volume, blur_voxels)
        lc2 += [intensity, gradient_magnitude(intensity, volume.T_index_space)]
        inside &= binary_erosion(known)  # the border of the array counts as unknown
    tissue = [gaussian_filter(level.data, blur_voxels) for level in known_of.tissue]
    if settings.channels == "tissue" and not tissue:
        raise ConfigError(
            "channels is 'tissue', but the tissue is not known; expected one MRI whose contrast is "
            "given (t1, t2, flair, or ct), or channels joint or mri"
        )
    backscatter = tissue[-1:] if len(known_of.mris) == 1 else []  # two contrasts tell tissues apart
    levels = {"joint": backscatter, "mri": [], "tissue": tissue}[settings.channels]
    chosen = levels if settings.channels == "tissue" else [*lc2, *levels]
    standard = [_standardised(channel, inside) for channel in chosen]
    extent = np.maximum(settings.patch_samples * settings.grid_mm / first.spacing_mm, 1.0)
    return MriChannels(
        data=np.stack([*standard, inside.astype(np.float32)], axis=-1),
        T_index_mri=first.T_index_space,
        ridge=tuple(
            settings.ridge * _median_local_variance(channel, inside, extent) for channel in standard
        ),
        tissue_levels=len(levels),
    )


def _smooth(
    volume: Volume, blur_voxels: Float64[np.ndarray, "3"]
) -> tuple[Float32[np.ndarray, "i j k"], Bool[np.ndarray, "i j k"]]:
    """Return an MRI without outliers, blurred, and where it holds anything."""
    if min(volume.data.shape) < 3:
        raise InputError(f"MRI: its size is {volume.data.shape}; expected 3 voxels or more a side")
    known = np.isfinite(volume.data) & ~_reaches_border(volume.data == 0)
    if not known.any() or np.ptp(volume.data[known]) == 0:
        raise InputError("MRI: it holds nothing but one value; expected an image of a patient")
    low, high = np.percentile(volume.data[known], [1.0, 99.0])
    filled = np.where(known, volume.data, np.median(volume.data[known])).clip(low, high)
    return gaussian_filter(filled.astype(np.float32), blur_voxels), known


def halved(volume: Volume) -> Volume:
    """Return a volume of the means of 2 x 2 x 2 voxels; where one holds nothing, NaN.

    For the coarse level: an eighth of the memory stays in the processor's cache.
    """
    known = np.isfinite(volume.data) & ~_reaches_border(volume.data == 0)
    i, j, k = (extent // 2 * 2 for extent in volume.data.shape)
    data = np.where(known, volume.data, np.float32(np.nan))[:i, :j, :k]
    means = data.reshape(i // 2, 2, j // 2, 2, k // 2, 2).mean(axis=(1, 3, 5), dtype=np.float32)
    T_fine_coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    T_fine_coarse[:3, 3] = 0.5
    return Volume(means, volume.T_space_index @ T_fine_coarse)


def make_coarse_channels(
    images: Volume | PatientImages, settings: RegistrationSettings
) -> MriChannels:
    """Prepare a patient's MRIs for the level at which a search begins, without tissue."""
    coarse = settings.coarse()
    mris = images.mris if isinstance(images, PatientImages) else (images,)
    can_halve = mris[0].spacing_mm.max() <= 0.75 * coarse.grid_mm and min(mris[0].data.shape) >= 8
    chosen = tuple(halved(volume) for volume in mris) if can_halve else mris
    return make_channels(PatientImages(chosen), coarse)


def gradient_magnitude(
    data: Float32[np.ndarray, "i j k"], T_index_space: Float64[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the length of the gradient by position (1/mm), by central differences."""
    slopes = np.stack(np.gradient(data), axis=-1) @ T_index_space[:3, :3].astype(np.float32)
    return np.asarray(np.linalg.norm(slopes, axis=-1))


def _reaches_border(mask: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    labels, count = label(mask)
    reaches = np.zeros(count + 1, dtype=bool)
    for axis in range(3):
        for end in (0, -1):
            reaches[labels.take(end, axis=axis)] = True
    reaches[0] = False
    return np.asarray(reaches[labels])


def _standardised(
    channel: Float32[np.ndarray, "i j k"] | Float64[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
) -> Float32[np.ndarray, "i j k"]:
    known = channel[inside] if inside.any() else channel
    return ((channel - known.mean()) / max(float(known.std()), 1e-12)).astype(np.float32)


def _median_local_variance(
    channel: Float32[np.ndarray, "i j k"],
    inside: Bool[np.ndarray, "i j k"],
    extent_voxels: Float64[np.ndarray, "3"],
) -> float:
    size = tuple(int(n) for n in np.round(extent_voxels))
    variance = uniform_filter(channel**2, size) - uniform_filter(channel, size) ** 2
    return float(np.median(variance[inside])) if inside.any() else 0.0
