"""The measured side of a device fit: brightness along the beams, and its mean level in cells.

Speckle is averaged as power: the mean is then that of the expected image, whatever share of it is
diffuse, where a mean of brightness would lie 2.5 dB below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from us_recon.imaging.first_and_last import between_first_and_last
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_beams

_NEPER_PER_DB = log(10.0) / 10.0  # of power
_EMPTY = 4.0 / 255.0  # mean brightness below which an image is taken to show nothing
_AROUND_MM = 1.0


@dataclass(frozen=True)
class Cells:
    """Sides of the cells in which levels are compared, in beams and in samples."""

    beams: int
    samples: int


def cells_of(probe: ProbeGeometry, cell_mm: float) -> Cells:
    """Return cells of about `cell_mm` a side, of a sector at half depth."""
    points = probe.beam_points_mm[:, probe.sample_count // 2]
    pitch_mm = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    return Cells(
        beams=min(max(1, round(cell_mm / pitch_mm)), probe.beam_count),
        samples=min(max(1, round(cell_mm / probe.sample_step_mm)), probe.sample_count),
    )


def measured_beams(
    frames: Sequence[TrackedFrame], near_field_mm: float
) -> tuple[Float32[np.ndarray, "frames beams samples"], Bool[np.ndarray, "frames beams samples"]]:
    """Return brightness (0 to 1) along the beams, and where it says something."""
    probe = frames[0].geometry
    images = np.stack([to_beams(frame.image, probe) for frame in frames]) / np.float32(255.0)
    cells = cells_of(probe, _AROUND_MM)
    shown = np.stack([cv2.blur(image, (cells.samples, cells.beams)) for image in images]) >= _EMPTY
    seen = between_first_and_last(shown) & (probe.sample_depths_mm >= near_field_mm)
    # Pixels of the frame around the sector, and the image's own rim, are no echoes.
    in_image = to_beams(probe.fan_mask.astype(np.float32), probe) > 0.99
    return images, seen & in_image


def mean_level_db(
    level_db: Float[Tensor, "frames beams samples"],
    valid: Float[Tensor, "frames beams samples"],
    cells: Cells,
) -> Float[Tensor, "frames rows columns"]:
    """Return the mean power of the valid samples of every cell, in dB; gradients flow."""
    size = (cells.beams, cells.samples)
    power = torch.exp(_NEPER_PER_DB * level_db) * valid
    share = F.avg_pool2d(valid, size)
    return torch.log(F.avg_pool2d(power, size) / share.clamp(min=1e-6) + 1e-30) / _NEPER_PER_DB
