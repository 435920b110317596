"""CT to acoustic properties by Hounsfield units."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from us_recon.acoustics.mixing import PROPERTIES, acoustic_volume
from us_recon.acoustics.tissues import TISSUES
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

SOFT_HU = ((-1000.0, "air"), (-100.0, "fat"), (5.0, "csf"), (40.0, "muscle"), (100.0, "muscle"))
"""Hounsfield units of tissues without bone; values of the textbooks, set by us."""

BONE_DENSITY_KG_M3, BONE_SPEED_M_S = 2100.0, 2900.0
FULL_BONE_HU = 1000.0
BONE_SCATTER = TISSUES["skull"].scatter
LOWEST_HU, HIGHEST_HU = -1100.0, 32000.0


@dataclass(frozen=True, eq=False)
class BoneProperties:
    """Density (kg/m3), speed (m/s) and attenuation (dB/cm/MHz) of partly mineralised tissue."""

    density_kg_m3: Float32[np.ndarray, "..."]
    speed_m_s: Float32[np.ndarray, "..."]
    attenuation_db_cm_mhz: Float32[np.ndarray, "..."]


def bone_properties(hounsfield: Float32[np.ndarray, "..."]) -> BoneProperties:
    """Return the properties of bone by its porosity.

    Porosity is ``1 - HU / 1000``, density and speed are mixed linearly between water and compact
    bone of 2100 kg/m3 and 2900 m/s (Aubry et al., J Acoust Soc Am 113 (2003) 84; entered without
    the paper at hand). Attenuation is mixed likewise up to the skull's: set by us.
    """
    solid = np.clip(hounsfield / FULL_BONE_HU, 0.0, 1.0).astype(np.float32)
    water, skull = TISSUES["water"], TISSUES["skull"]

    def mixed(pore: float, bone: float) -> Float32[np.ndarray, "..."]:
        return np.float32(pore) + solid * np.float32(bone - pore)

    return BoneProperties(
        mixed(water.density_kg_m3, BONE_DENSITY_KG_M3),
        mixed(water.speed_m_s, BONE_SPEED_M_S),
        mixed(water.attenuation_db_cm_mhz, skull.attenuation_db_cm_mhz),
    )


def acoustic_volume_from_ct(volume: Volume) -> AcousticVolume:
    """Return the acoustic properties that a CT tells.

    Below 100 HU the properties lie between those of air, fat, fluid and muscle; grey and white
    matter are 10 HU apart, less than a CT's noise, and are not told apart. From 100 HU on it is
    bone by its porosity, blended in up to 300 HU so that the noise of soft tissue makes no echo.

    Args:
        volume: A CT in Hounsfield units; NaN is unknown, as is -1024 or less outside the field.

    Raises:
        InputError: The values are no Hounsfield units, nothing is known, or the affine is sheared.
    """
    hounsfield = volume.data
    known = np.isfinite(hounsfield) & (hounsfield > -1024.0)
    if not known.any():
        raise InputError("the CT holds no voxel above -1024 HU; expected Hounsfield units")
    low, high = float(hounsfield[known].min()), float(hounsfield[known].max())
    if low > 500.0 or high < 0.0 or high > HIGHEST_HU or (low >= 0.0 and high < 256.0):
        raise InputError(
            f"the CT's values run from {low:g} to {high:g}; expected Hounsfield units, -1000 for "
            "air and 0 for water: apply the rescale slope and intercept"
        )
    hounsfield = np.where(known, hounsfield, np.float32(0.0))
    at, names = [each for each, _ in SOFT_HU], [name for _, name in SOFT_HU]
    soft = [
        np.interp(hounsfield, at, [getattr(TISSUES[name], each) for name in names])
        for each in PROPERTIES
    ]
    bone = bone_properties(hounsfield)
    hard = (
        bone.density_kg_m3 * bone.speed_m_s * np.float32(1e-6),
        bone.attenuation_db_cm_mhz,
        BONE_SCATTER,
    )
    share = np.clip((hounsfield - 100.0) / 200.0, 0.0, 1.0)
    properties = np.stack(
        [a + share * (b - a) for a, b in zip(soft, hard, strict=True)], axis=-1
    ).astype(np.float32)
    return acoustic_volume(properties, known, volume.T_space_index)
