"""What the renderer says about tissue, as channels that explain a measured image locally.

A device's gain, time gain and compression turn echoes into brightness in a way that changes from
place to place and is rarely known. In a small patch it is nearly linear in the level of the echoes
in dB, so that an image is explained by a local fit of such levels, and no device need be known.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics.fields import gradient_per_mm
from us_recon.acoustics.renderer import Rendering
from us_recon.acoustics.volume import AcousticVolume

EDGE_FLOOR_DB, SCATTER_FLOOR_DB = -80.0, -26.0
"""Levels below which nothing is told apart: of a reflection of 1, and of grey matter."""
EDGE_MM = 1.0
"""Length over which a change of impedance counts as one interface, where no beam says so."""


def echo_levels(
    rendering: Rendering, edge_db: float, scatter_db: float, samples_per_cell: int = 1
) -> Float[Tensor, "2 poses beams cells"]:
    """Return the levels of interfaces and of backscatter in dB, free of what was lost on the way.

    Gradients flow.

    Args:
        rendering: Expected images, rendered at these two levels.
        edge_db: Level of interfaces they were rendered with.
        scatter_db: Level of backscatter they were rendered with.
        samples_per_cell: Samples along a beam that become one; interfaces are thin, so that a
            coarse grid has to sum over finer samples.
    """
    passed = rendering.transmission.clamp(min=1e-3)
    amplitudes = torch.stack([rendering.edges.abs(), rendering.scatter]) / passed
    pooled = F.avg_pool1d(
        amplitudes.flatten(0, 2)[:, None], samples_per_cell, samples_per_cell, ceil_mode=True
    ).reshape(*amplitudes.shape[:3], -1)
    floors = pooled.new_tensor([EDGE_FLOOR_DB + edge_db, SCATTER_FLOOR_DB + scatter_db])
    faintest = torch.pow(10.0, floors / 20.0)[:, None, None, None]
    return 20.0 * torch.log10(pooled + faintest)


def tissue_levels(volume: AcousticVolume) -> Float[Tensor, "2 i j k"]:
    """Return the levels of interfaces and of backscatter in dB at every voxel, for any beam.

    An interface is taken as a beam across it meets it: ``|grad ln Z| / 2`` times `EDGE_MM`. What
    lies on the way, and from where one looks, is left out; see `echo_levels` for those. Gradients
    flow.
    """
    slopes = gradient_per_mm(volume) / volume.impedance_mrayl[..., None]
    amplitudes = torch.stack([0.5 * EDGE_MM * slopes.norm(dim=-1), volume.scatter])
    floors = amplitudes.new_tensor([EDGE_FLOOR_DB, SCATTER_FLOOR_DB])
    faintest = torch.pow(10.0, floors / 20.0)[:, None, None, None]
    return 20.0 * torch.log10(amplitudes + faintest)
