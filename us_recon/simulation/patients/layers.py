"""Skin, fat, fascia and muscle: what lies between the probe and bone or organs.

The reflections at these layers are weaker than their impedances say, because the layers grade into
each other; by how much is set by us.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32

from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.scene import Interface
from us_recon.simulation.tissue import TISSUES, reflection_coefficient

EDGE_MM = 0.6  # half width of the transition between two tissues
GRADED = 0.4  # share of a sharp boundary's reflection
BODY_WALL = (
    Interface("skin", 0.05, exponent=8.0, roughness=0.3, patchiness_db=2.0),
    Interface("fat", abs(reflection_coefficient("skin", "fat")) * GRADED, 8.0, 0.3, 3.0),
    Interface("fascia", reflection_coefficient("fat", "ligament") * GRADED, 8.0, 0.4, 4.0),
)
SEPTA = Interface("septa", 0.004, exponent=8.0, roughness=0.6, patchiness_db=9.0)

Points = Float32[np.ndarray, "n 3"]
Values = Float32[np.ndarray, " n"]
Layer = tuple[Values, str, Values | float]


def bone_interface() -> Interface:
    """Return cortical bone under muscle."""
    return Interface(
        "bone",
        reflection_coefficient("muscle", "bone"),
        exponent=5.0,
        roughness=0.15,
        patchiness_db=2.0,
        blocks=True,
    )


def mixed(
    count: int, layers: Iterable[Layer], frequency_mhz: float, edge_mm: float = EDGE_MM
) -> tuple[Values, Values]:
    """Lay tissues over gel, each over those before it.

    Args:
        count: Number of points.
        layers: Depth below the tissue's surface, its name, and how its speckle level differs
            from the table's, dB.
        frequency_mhz: Frequency of the attenuation.
        edge_mm: Half width of the transition at each surface.

    Returns:
        Speckle amplitude and attenuation in dB/cm.
    """
    level = np.full(count, TISSUES["gel"].backscatter_amplitude, dtype=np.float32)
    loss = np.full_like(level, TISSUES["gel"].attenuation_at(frequency_mhz))
    for behind_mm, name, variation_db in layers:
        tissue = TISSUES[name]
        share = np.clip(0.5 + behind_mm / np.float32(2.0 * edge_mm), 0.0, 1.0)
        amplitude = np.power(np.float32(10.0), (tissue.backscatter_db + variation_db) / 20.0)
        level += share * (amplitude - level)
        loss += share * (np.float32(tissue.attenuation_at(frequency_mhz)) - loss)
    return level.astype(np.float32), loss.astype(np.float32)


def skin_layers_mm(
    depth_mm: Values, points_mm: Points, skin_mm: float, fat_mm: float, seed: int
) -> tuple[Values, Values]:
    """Return the depth below the dermis and below the fat, given the depth below the skin.

    The fat's thickness varies by a quarter along the body.
    """
    wave = smooth_noise(points_mm, 25.0, seed)
    dermis = depth_mm - np.float32(skin_mm)
    return dermis, (dermis - np.float32(fat_mm) * (1.0 + np.float32(0.25) * wave)).astype(
        np.float32
    )


def septa_mm(turn_mm: Values, deep_mm: Values, pitch_mm: float) -> Values:
    """Return a level set of sheets between muscle bundles, absent above `deep_mm` = 0.

    Args:
        turn_mm: Coordinate across the sheets.
        deep_mm: Depth below the fascia.
        pitch_mm: Twice the distance between sheets.
    """
    sheets = np.sin(np.float32(2.0 * np.pi / pitch_mm) * turn_mm) * np.float32(pitch_mm / 6.0)
    lift = np.float32(pitch_mm / 3.0) * np.clip(1.0 - deep_mm / 5.0, 0.0, 1.0)
    return np.asarray(sheets + lift, dtype=np.float32)
