"""How the learned map is trained: on which virtual heads and which of their voxels."""

import numpy as np
from jaxtyping import Bool, Float32

from us_recon.acoustics.classifier import CLASSES, Classifier, train
from us_recon.acoustics.contrasts import contrast_of
from us_recon.acoustics.features import features_of
from us_recon.acoustics.virtual_heads import VirtualHead, virtual_head

HEADS = 8
VOXELS_PER_CLASS = 3000  # of one head: rare tissues weigh as much as common ones


def training_head(contrast: str, seed: int) -> VirtualHead:
    """Return a whole head, a bare brain or a crop in turn; for T1 also the template's own image."""
    own = contrast == "t1" and seed % 5 == 1
    return virtual_head(contrast, seed, bare=seed % 4 == 1, own_t1=own, crop=seed % 4 >= 2)


def balanced_voxels(
    shares: Float32[np.ndarray, "c i j k"], among: Bool[np.ndarray, "i j k"], seed: int
) -> np.ndarray:
    """Return flat indices of voxels, the same number of each main tissue where there are enough."""
    draw = np.random.default_rng(seed)
    main = np.where(among, shares.argmax(axis=0), -1).ravel()
    chosen = []
    for number in range(len(CLASSES)):
        of_class = np.flatnonzero(main == number)
        chosen.append(draw.permutation(of_class)[:VOXELS_PER_CLASS])
    return np.concatenate(chosen)


def train_contrast(contrast: str, heads: int = HEADS) -> Classifier:
    """Train the network of one contrast on the backs of virtual heads."""
    features, shares = [], []
    for seed in range(heads):
        head = training_head(contrast, seed)
        values, known, _ = features_of(head.volume, contrast_of(contrast))
        at = balanced_voxels(head.shares, known & head.half(front=False), seed)
        features.append(values.reshape(len(values), -1)[:, at].T)
        shares.append(head.shares.reshape(len(CLASSES), -1)[:, at].T)
    return train(np.concatenate(features), np.concatenate(shares))
