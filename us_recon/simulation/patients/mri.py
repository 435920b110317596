"""A synthetic T1-weighted MRI for scenes that have no real one.

Intensities are set by tissue as a spoiled gradient echo shows them, not by acoustics: the
ultrasound and the MRI of a scene share the anatomy and nothing else.
"""

from collections.abc import Callable
from enum import Enum

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import gaussian_filter

from us_recon.geometry.grid import Grid
from us_recon.imaging.volume import Volume
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.scene import CHUNK_POINTS


class MriTissue(Enum):
    """Mean T1-weighted intensity, muscle 100."""

    AIR = 0.0
    SKIN = 120.0
    FAT = 240.0
    MUSCLE = 100.0
    CSF = 45.0
    CORTICAL_BONE = 12.0
    MARROW = 170.0
    LIVER = 140.0
    KIDNEY = 85.0
    BLOOD = 40.0  # flowing, not enhanced


Layers = Callable[[Float32[np.ndarray, "n 3"]], list[tuple[Float32[np.ndarray, " n"], MriTissue]]]


def synthesise_t1(
    bounds_mm: tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]],
    layers: Layers,
    seed: int,
    spacing_mm: float = 1.0,
    bias: float = 0.08,
    noise: float = 3.0,
) -> Volume:
    """Return an MRI of nested tissues with bias field, partial volume and Rician noise.

    Args:
        bounds_mm: Corners of the volume.
        layers: Gives at points the depth below each tissue's surface, from the outside in.
        seed: Bias field and noise.
        spacing_mm: Voxel edge.
        bias: Standard deviation of the receive field, relative.
        noise: Standard deviation of the noise, where muscle is 100.
    """
    grid = Grid.around(bounds_mm[0], bounds_mm[1], spacing_mm)
    count = int(np.prod(grid.shape))
    data = np.empty(count, dtype=np.float32)
    for start in range(0, count, CHUNK_POINTS):
        flat = np.arange(start, min(start + CHUNK_POINTS, count))
        index = np.stack(np.unravel_index(flat, grid.shape), axis=-1)
        points = grid.index_to_mm(index).astype(np.float32)
        value = np.full(len(points), MriTissue.AIR.value, dtype=np.float32)
        for depth_mm, tissue in layers(points):
            share = np.clip(0.5 + depth_mm / np.float32(spacing_mm), 0.0, 1.0)
            value += share * (np.float32(tissue.value) - value)
        data[flat] = value * (1.0 + np.float32(bias) * smooth_noise(points, 60.0, seed + 21))
    blurred = gaussian_filter(data.reshape(grid.shape), 0.5)
    rng = np.random.default_rng([seed, 22])
    real = blurred + noise * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(grid.shape, dtype=np.float32)
    return Volume(np.hypot(real, imaginary).astype(np.float32), grid.T_space_index)
