"""The learned map: a small network from a voxel's features to shares of tissues."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import linear, relu

from us_recon.acoustics.features import FEATURES

CLASSES = (
    "air", "csf", "grey_matter", "white_matter", "skull", "cancellous_bone", "fat", "skin",
    "tumour", "vessel",
)  # fmt: skip
WEIGHTS = Path(__file__).with_name("mri_map.json")
HIDDEN = 16
CHUNK = 1 << 18  # voxels at a time: the layers' values stay in the cache's reach
EPOCHS, BATCH, LEARNING_RATE = 12, 4096, 4e-3


@dataclass(frozen=True, eq=False)
class Classifier:
    """Weights and offsets of each layer."""

    layers: tuple[tuple[Float32[Tensor, "_ _"], Float32[Tensor, " _"]], ...]

    def logits(self, features: Float32[Tensor, "n f"]) -> Float32[Tensor, "n c"]:
        """Return unnormalised log shares."""
        h = features
        for weight, offset in self.layers[:-1]:
            h = relu(linear(h, weight, offset))
        return linear(h, *self.layers[-1])

    def shares(self, features: Float32[np.ndarray, "n f"]) -> Float32[Tensor, "n c"]:
        """Return the shares of the classes, which sum to 1."""
        parts = [
            torch.softmax(self.logits(torch.from_numpy(features[at : at + CHUNK])), dim=-1)
            for at in range(0, len(features), CHUNK)
        ]
        return torch.cat(parts)


def train(
    features: Float32[np.ndarray, "n f"],
    shares: Float32[np.ndarray, "n c"],
    seed: int = 0,
    hidden: int = HIDDEN,
) -> Classifier:
    """Fit the shares by cross-entropy with Adam; the same seed gives the same weights.

    Args:
        features: Features of voxels.
        shares: Their true shares of tissues.
        seed: Of the first weights and of the order of the voxels.
        hidden: Width of the two hidden layers.
    """
    draw = torch.Generator().manual_seed(seed)
    sizes = (features.shape[1], hidden, hidden, shares.shape[1])
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        weight = torch.randn(fan_out, fan_in, generator=draw) * (2.0 / fan_in) ** 0.5
        layers.append((weight.requires_grad_(), torch.zeros(fan_out, requires_grad=True)))
    network = Classifier(tuple(layers))
    parameters = [each for layer in layers for each in layer]
    optimiser = torch.optim.Adam(parameters, LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    x, target = torch.from_numpy(features), torch.from_numpy(shares)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(x), generator=draw), BATCH):
            loss = torch.nn.functional.cross_entropy(network.logits(x[batch]), target[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
    return Classifier(tuple((w.detach(), b.detach()) for w, b in layers))


def save(networks: dict[str, Classifier], path: Path = WEIGHTS) -> None:
    """Write the networks of all contrasts as text, five digits a weight."""

    def plain(values: Float[Tensor, "..."]) -> Any:
        return np.vectorize(lambda x: float(f"{x:.5g}"))(values.numpy()).tolist()

    content = {
        "features": FEATURES,
        "classes": CLASSES,
        "networks": {
            name: [{"weight": plain(w), "offset": plain(b)} for w, b in network.layers]
            for name, network in networks.items()
        },
    }
    path.write_text(json.dumps(content, separators=(",", ":")).replace("],[", "],\n[") + "\n")


@lru_cache(maxsize=1)
def trained() -> dict[str, Classifier]:
    """Return the network of each contrast, from the file that the training script wrote."""
    content = json.loads(WEIGHTS.read_text())
    return {
        name: Classifier(tuple(_layer(each["weight"], each["offset"]) for each in layers))
        for name, layers in content["networks"].items()
    }


def _layer(
    weight: Sequence[Sequence[float]], offset: Sequence[float]
) -> tuple[Float32[Tensor, "_ _"], Float32[Tensor, " _"]]:
    return torch.tensor(weight, dtype=torch.float32), torch.tensor(offset, dtype=torch.float32)
