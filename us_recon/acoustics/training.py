"""How the learned map is trained: on which virtual heads and which of their voxels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

from us_recon.acoustics.classifier import CLASSES, Classifier, train
from us_recon.acoustics.contrasts import contrast_of
from us_recon.acoustics.features import FEATURES, features_of
from us_recon.acoustics.virtual_heads import VirtualHead, virtual_head

HEADS = 8
VOXELS = 30_000  # of one head


def training_head(contrast: str, seed: int) -> VirtualHead:
    """Return a whole head, a bare brain or a crop in turn; for T1 also the template's own image."""
    crop = "back" if seed % 4 >= 2 else ""
    own = contrast == "t1" and seed % 4 == 1
    return virtual_head(contrast, seed, bare=seed % 4 == 1, own_t1=own, crop=crop)


def balanced_voxels(
    shares: Float32[np.ndarray, "c i j k"], among: Bool[np.ndarray, "i j k"], seed: int
) -> Int[np.ndarray, " n"]:
    """Return flat indices of voxels, of each main tissue as the square root of how many there are.

    All alike would make the network see rare tissues everywhere; as they come, it would see none.
    """
    draw = np.random.default_rng(seed)
    main = np.where(among, shares.argmax(axis=0), -1).ravel()
    of_class = [np.flatnonzero(main == number) for number in range(len(CLASSES))]
    root = np.sqrt([len(each) for each in of_class])
    wanted = VOXELS * root / root.sum()
    return np.concatenate(
        [
            draw.permutation(each)[: round(count)]
            for each, count in zip(of_class, wanted, strict=True)
        ]
    )


@dataclass(frozen=True, eq=False)
class TrainingVoxels:
    """Voxels of the backs of several heads.

    Attributes:
        features: What the map sees.
        intensity: The image as the scanner gave it.
        brightest: The 99th percentile of the image that a voxel is from.
        shares: True shares of tissues.
    """

    features: Float32[np.ndarray, "n f"]
    intensity: Float32[np.ndarray, " n"]
    brightest: Float32[np.ndarray, " n"]
    shares: Float32[np.ndarray, "n c"]


def training_voxels(contrast: str, heads: int = HEADS) -> TrainingVoxels:
    """Draw heads of one contrast and voxels of their backs."""
    features, intensity, brightest, shares = [], [], [], []
    for seed in range(heads):
        head = training_head(contrast, seed)
        seen = features_of(head.volume, contrast_of(contrast))
        at = balanced_voxels(head.shares, seen.known & head.half(front=False), seed)
        features.append(seen.values.reshape(len(FEATURES), -1)[:, at].T)
        shares.append(head.shares.reshape(len(CLASSES), -1)[:, at].T)
        intensity.append(head.volume.data.ravel()[at])
        top = np.percentile(head.volume.data[seen.known], 99.0)
        brightest.append(np.full(len(at), top, np.float32))
    parts = (np.concatenate(each) for each in (features, intensity, brightest, shares))
    return TrainingVoxels(*parts)


def train_contrast(contrast: str, heads: int = HEADS) -> Classifier:
    """Train the network of one contrast on the backs of virtual heads."""
    voxels = training_voxels(contrast, heads)
    return train(voxels.features, voxels.shares)
