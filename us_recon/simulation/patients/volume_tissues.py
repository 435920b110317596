"""A user's volume as tissues: level sets from Hounsfield units or from labels, on a grid.

Hounsfield units of tissues: air -1000, fat around -100, soft tissue 0 to 80, bone from some 200
(Kalender, Computed Tomography); the thresholds are settings or set by us.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from us_recon.errors import ConfigError
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.volume import Volume
from us_recon.simulation.patients.layers import GRADED, bone_interface
from us_recon.simulation.scene import Interface
from us_recon.simulation.tissue import TISSUES, reflection_coefficient

Field = Float32[np.ndarray, "i j k"]

OUTSIDE = "outside"
BLOCKING = ("bone", "skull", "air")
SMOOTHING_VOXELS = 0.6
FAT_HU, GAS_HU, AIR_HU = -30.0, -300.0, -1000.0
FAR_MM = 4.0
HU_SLOPE, SHARE_SLOPE = 40.0, 0.06  # per mm; flatter than this is no surface
FASCIA_FROM_MM = 1.5
FEWEST_REFLECTING = 0.004
MOST_INTERFACES = 7


@dataclass(frozen=True, eq=False)
class TissueFields:
    """Where the tissues of a volume are, on a grid.

    Attributes:
        grid: The grid.
        skin_mm: Distance outside the patient, negative inside, everywhere.
        tissues: Name and level set of each, in the order in which they cover each other.
        interfaces: The reflecting surfaces; the first is the skin.
        level_sets_mm: One per interface.
        solids: Interfaces that are true surfaces, the target first.
    """

    grid: Grid
    skin_mm: Field
    tissues: tuple[tuple[str, Field], ...]
    interfaces: tuple[Interface, ...]
    level_sets_mm: tuple[Field, ...]
    solids: tuple[str, ...]


def parse_tissues(text: str) -> dict[int, str]:
    """Return the tissue of each label from text such as "1=bone,2=liver".

    Raises:
        ConfigError: Not of that form, or an unknown tissue.
    """
    named: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, _, tissue = (piece.strip() for piece in part.partition("="))
        if not label.isdigit():
            raise ConfigError(f"tissues has {part!r}; expected label=tissue, as in 1=bone,2=liver")
        if tissue not in TISSUES and tissue != OUTSIDE:
            known = ", ".join([OUTSIDE, *sorted(TISSUES)])
            raise ConfigError(f"tissues names {tissue!r}; expected one of {known}")
        named[int(label)] = tissue
    return named


def label_tissues(data: Field, text: str) -> dict[int, str]:
    """Return the tissue of every label that occurs; 0 is outside unless it is named.

    Raises:
        ConfigError: A label has no tissue.
    """
    named = {0: OUTSIDE, **parse_tissues(text)}
    missing = sorted({int(label) for label in np.unique(data)} - set(named))
    if missing:
        raise ConfigError(
            f"tissues says nothing of label {', '.join(map(str, missing))}; name a tissue for "
            "each, as in 1=bone,2=liver"
        )
    return named


def from_hounsfield(
    volume: Volume, grid: Grid, start_mm: Float64[np.ndarray, "3"], bone_hu: float
) -> TissueFields:
    """Make fat, soft tissue, bone and gas of a CT.

    Args:
        volume: Hounsfield units.
        grid: Where the fields are wanted.
        start_mm: A point outside the patient, from where the air around is followed.
        bone_hu: Bone begins here; its surface is best put halfway between bone and what is beside.
    """
    smooth = ndimage.gaussian_filter(volume.data, SMOOTHING_VOXELS)
    found = _on_grid(Volume(smooth, volume.T_space_index), grid, np.nan)
    beyond = np.isnan(found)
    hu = np.where(beyond, np.float32(AIR_HU), found)
    outside = _connected(hu < GAS_HU, grid, start_mm)
    skin = _signed_mm(outside, grid.spacing_mm)
    # Partial volume at the skin and what lies beyond the volume is no gas in the patient.
    rim = ndimage.binary_dilation(outside | beyond, iterations=3)
    within = np.where(rim, np.maximum(hu, 0.0), hu)
    bone = _level_set_mm(bone_hu - hu, HU_SLOPE, grid.spacing_mm)
    gas = _level_set_mm(within - GAS_HU, HU_SLOPE, grid.spacing_mm)
    soft = _level_set_mm(FAT_HU - ndimage.gaussian_filter(hu, 0.7), HU_SLOPE, grid.spacing_mm)
    fascia = np.maximum(soft, FASCIA_FROM_MM + skin)
    interfaces: list[tuple[Interface, Field]] = [(_reflector("skin", "gel", "skin"), skin)]
    if _present(fascia):
        interfaces.append((_reflector("fascia", "fat", "ligament"), fascia))
    interfaces += [
        (found, field)
        for found, field in ((bone_interface(), bone), (_reflector("air", "muscle", "air"), gas))
        if _present(field)
    ]
    return TissueFields(
        grid,
        skin,
        (("muscle", skin), ("fat", -soft), ("bone", bone), ("air", gas)),
        *_columns(interfaces),
        _solids([interface.name for interface, _ in interfaces]),
    )


def from_labels(
    volume: Volume, grid: Grid, start_mm: Float64[np.ndarray, "3"], named: dict[int, str]
) -> TissueFields:
    """Make tissues of labels; those that block sound cover the others."""
    shares: dict[str, Field] = {}
    for label, tissue in named.items():
        share = ndimage.gaussian_filter((volume.data == label).astype(np.float32), SMOOTHING_VOXELS)
        fill = 1.0 if tissue == OUTSIDE else 0.0
        found = _on_grid(Volume(share, volume.T_space_index), grid, fill)
        shares[tissue] = shares[tissue] + found if tissue in shares else found
    beyond = shares.pop(OUTSIDE, np.zeros(grid.shape, dtype=np.float32))
    # Beyond a volume without any outside label there is nothing.
    nothing = beyond + sum(shares.values()) < 0.5
    skin = _signed_mm(_connected((beyond > 0.5) | nothing, grid, start_mm), grid.spacing_mm)
    levels = {
        tissue: _level_set_mm(np.float32(0.5) - share, SHARE_SLOPE, grid.spacing_mm)
        for tissue, share in shares.items()
    }
    levels = {tissue: level for tissue, level in levels.items() if _present(level)}
    order = sorted(levels, key=lambda tissue: tissue in BLOCKING)
    reflecting = sorted(
        (tissue for tissue in levels if tissue != "muscle"),
        key=lambda tissue: (tissue not in BLOCKING, -float((levels[tissue] < 0).sum())),
    )[: MOST_INTERFACES - 1]
    interfaces: list[tuple[Interface, Field]] = [(_reflector("skin", "gel", "skin"), skin)]
    for tissue in (tissue for tissue in levels if tissue in reflecting):
        bone = tissue == "bone"
        surface = bone_interface() if bone else _reflector(tissue, "muscle", tissue)
        interfaces.append((surface, levels[tissue]))
    return TissueFields(
        grid,
        skin,
        (("muscle", skin), *((tissue, levels[tissue]) for tissue in order)),
        *_columns(interfaces),
        _solids([interface.name for interface, _ in interfaces]),
    )


def _columns(
    interfaces: list[tuple[Interface, Field]],
) -> tuple[tuple[Interface, ...], tuple[Field, ...]]:
    return tuple(found for found, _ in interfaces), tuple(field for _, field in interfaces)


def _solids(names: list[str]) -> tuple[str, ...]:
    """Return the surfaces with bone first, then in their order, the skin last."""
    free = [name for name in names if name not in ("skin", "fascia")]
    return (*sorted(free, key=lambda name: name not in ("bone", "skull")), "skin")


def _reflector(name: str, front: str, behind: str) -> Interface:
    strength = abs(reflection_coefficient(front, behind))
    if behind in BLOCKING:
        return Interface(name, strength, 4.0, roughness=0.2, blocks=True)
    return Interface(name, max(GRADED * strength, FEWEST_REFLECTING), 6.0, roughness=0.3)


def _on_grid(volume: Volume, grid: Grid, fill: float) -> Field:
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    points = transform_points(grid.T_space_index, index)
    return volume.sample(points, fill=fill).reshape(grid.shape)


def _level_set_mm(field: Field, least_slope: float, spacing_mm: float) -> Field:
    """Return about the distance to a field's zero, at most `FAR_MM` either way."""
    slope = np.sqrt(sum(np.square(part) for part in np.gradient(field, spacing_mm)))
    return np.clip(field / np.maximum(slope, least_slope), -FAR_MM, FAR_MM).astype(np.float32)


def _present(level_set_mm: Field) -> bool:
    return bool(level_set_mm.min() < 0 < level_set_mm.max())


def _connected(
    free: Bool[np.ndarray, "i j k"], grid: Grid, start_mm: Float64[np.ndarray, "3"]
) -> Bool[np.ndarray, "i j k"]:
    """Return the free voxels that are connected with a point."""
    labels, _ = ndimage.label(free)
    index = np.clip(grid.mm_to_index(start_mm), 0, np.array(grid.shape) - 1)
    if not labels[tuple(index)]:  # the point lies in a voxel that the skin cuts
        nearest = ndimage.distance_transform_edt(~free, return_distances=False, return_indices=True)
        index = nearest[(slice(None), *index)]
    return np.asarray(labels == labels[tuple(index)])


def _signed_mm(outside: Bool[np.ndarray, "i j k"], spacing_mm: float) -> Field:
    """Return the distance to the border of a region, positive in it, good to half a voxel."""
    beyond = ndimage.distance_transform_edt(outside)
    within = ndimage.distance_transform_edt(~outside)
    signed = np.where(outside, beyond - 0.5, 0.5 - within) * spacing_mm
    return ndimage.gaussian_filter(signed, 1.0).astype(np.float32)
