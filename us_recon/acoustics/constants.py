"""Numbers that do not change from one rendering to the next, made once for each device.

A rendering then copies nothing between host and device. Made outside inference mode whatever the
caller's: what is made inside can take part in no gradient later.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Real
from numpy.typing import NDArray
from torch import Tensor

from us_recon.imaging.probe import ProbeGeometry


@dataclass(frozen=True, eq=False)
class ProbeTensors:
    """Where a probe's beams and samples lie in the transducer frame.

    Attributes:
        plane_mm: Samples (x, y) of all beams.
        directions: Unit vectors (x, y) along the beams.
        depths_mm: Distance of the samples from the array's face along a beam.
    """

    plane_mm: Float[Tensor, "beams samples 2"]
    directions: Float[Tensor, "beams 2"]
    depths_mm: Float[Tensor, " samples"]


@lru_cache(maxsize=16)
def probe_tensors(probe: ProbeGeometry, dtype: torch.dtype, device: torch.device) -> ProbeTensors:
    """Return a probe's beams as tensors."""
    parts = (probe.beam_points_mm, probe.beam_directions, probe.sample_depths_mm)
    return ProbeTensors(*(on_device(part, dtype, device) for part in parts))


@lru_cache(maxsize=64)
def constant(
    values: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Real[Tensor, " n"]:
    """Return some numbers as a tensor of any type."""
    return on_device(np.array(values), dtype, device)


def on_device(values: NDArray[np.generic], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a copy of an array as a tensor that may take part in gradients."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values).to(device=device, dtype=dtype)
