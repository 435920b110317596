"""A small network that tells, for each beam of an image, where the surface of bone may lie.

Its shape is that of U-Net (Ronneberger et al. 2015), with few channels and additions in place of
concatenations; the number of beams and samples is free. It was trained on virtual patients, see
`scripts/train_bone_detector.py`.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad, pixel_shuffle, relu

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.brightness import Beams, Calibration

WEIGHTS = Path(__file__).with_name("bone_network.npz")
BEAMS, STEP_MM = 128, 0.3
CHANNELS = (8, 16, 24, 32, 32)  # of each level, fine to coarse
INPUTS = 3
_MULTIPLE = 2 ** (len(CHANNELS) - 1)
_NEAR_FIELD_MM = 15.0
_MOST_BRIGHTNESS = 6.0  # of tissue

Part = Float32[Tensor, "..."]
Weights = Mapping[str, Part]
LogShares = Float32[Tensor, "images beams outcomes"]


def inputs_of(
    beams: Beams, calibration: Calibration, geometry: ProbeGeometry
) -> Float32[np.ndarray, "3 beams samples"]:
    """Return what the network sees of an image.

    Args:
        beams: Grey levels, `STEP_MM` apart.
        calibration: Of the recording.
        geometry: With the same beams and samples.

    Returns:
        Brightness in units of tissue; the same in units of what tissue reaches at this depth; and
        how deep each sample lies, as far as the near field reaches.
    """
    brightness = np.minimum(calibration.brightness(beams), _MOST_BRIGHTNESS)
    relative = np.minimum(brightness / calibration.usual, _MOST_BRIGHTNESS)
    depth = np.minimum(geometry.sample_depths_mm / _NEAR_FIELD_MM, 1.0)
    planes = (np.sqrt(brightness), np.sqrt(relative), np.broadcast_to(depth, beams.shape))
    return np.stack(planes).astype(np.float32)


def log_shares(weights: Weights, inputs: Float32[Tensor, "images 3 beams samples"]) -> LogShares:
    """Return log-probabilities of each beam's outcomes: surface at each sample; last, none."""
    beams, samples = inputs.shape[2:]
    x = pad(inputs, (0, -samples % _MULTIPLE, 0, -beams % _MULTIPLE), mode="replicate")
    fine = relu(_convolved(weights, "in", x))
    levels = [fine]
    for level in range(1, len(CHANNELS)):
        x = avg_pool2d(levels[-1], 2)
        x = relu(_convolved(weights, f"down{level}a", x))
        levels.append(relu(_convolved(weights, f"down{level}b", x)))
    # Shadow and earlier echoes reach over whole beams: means of all that lies above and below.
    x = relu(levels[-1] + _convolved(weights, "along", _above_and_below(levels[-1])))
    bottom = x.mean(dim=3)  # of whole beams: what they show at all
    for level in range(len(CHANNELS) - 2, 0, -1):
        up = interpolate(_convolved(weights, f"to{level}", x), scale_factor=2.0, mode="nearest")
        x = relu(_convolved(weights, f"up{level}", relu(up + levels[level])))
    surface = pixel_shuffle(_convolved(weights, "out", x), 2) + _convolved(weights, "skip", fine)
    none = conv2d(bottom[:, :, None], weights["none_w"], weights["none_b"])
    none = interpolate(none, size=(1, x.shape[2] * 2), mode="bilinear", align_corners=False)
    logits = torch.cat([surface[:, 0, :beams, :samples], none[:, 0, 0, :beams, None]], dim=2)
    return torch.log_softmax(logits, dim=2)


def drawn(seed: int) -> dict[str, Part]:
    """Return random weights (He et al. 2015)."""
    draw = torch.Generator().manual_seed(seed)
    weights: dict[str, Part] = {}

    def layer(name: str, into: int, out: int, size: int) -> None:
        spread = (2.0 / (into * size * size)) ** 0.5
        weights[f"{name}_w"] = torch.randn(out, into, size, size, generator=draw) * spread
        weights[f"{name}_b"] = torch.zeros(out)

    layer("in", INPUTS, CHANNELS[0], 3)
    for level in range(1, len(CHANNELS)):
        layer(f"down{level}a", CHANNELS[level - 1], CHANNELS[level], 3)
        layer(f"down{level}b", CHANNELS[level], CHANNELS[level], 3)
    for level in range(len(CHANNELS) - 2, 0, -1):
        layer(f"to{level}", CHANNELS[level + 1], CHANNELS[level], 1)
        layer(f"up{level}", CHANNELS[level], CHANNELS[level], 3)
    layer("along", 2 * CHANNELS[-1], CHANNELS[-1], 1)
    layer("out", CHANNELS[1], 4, 3)
    layer("skip", CHANNELS[0], 1, 3)
    layer("none", CHANNELS[-1], 1, 1)
    return weights


def save(weights: Weights, path: Path = WEIGHTS) -> None:
    """Write weights in half precision."""
    halves: dict[str, Any] = {name: w.numpy().astype(np.float16) for name, w in weights.items()}
    np.savez_compressed(path, **halves)


@lru_cache(maxsize=1)
def trained() -> dict[str, Part]:
    """Return the weights that the training script wrote."""
    with np.load(WEIGHTS) as archive:
        return {name: torch.from_numpy(archive[name].astype(np.float32)) for name in archive}


def _convolved(weights: Weights, name: str, x: Part) -> Part:
    weight = weights[f"{name}_w"]
    return conv2d(x, weight, weights[f"{name}_b"], padding=weight.shape[-1] // 2)


def _above_and_below(x: Part) -> Part:
    count = torch.arange(1, x.shape[3] + 1, dtype=torch.float32)
    above = x.cumsum(dim=3)
    below = above[..., -1:] - above + x
    return torch.cat([above / count, below / count.flip(0)], dim=1)
