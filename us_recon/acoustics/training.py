"""How the learned map is trained: on which virtual heads and which of their voxels."""

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


def train_contrast(contrast: str, heads: int = HEADS) -> Classifier:
    """Train the network of one contrast on the backs of virtual heads."""
    features, shares = [], []
    for seed in range(heads):
        head = training_head(contrast, seed)
        seen = features_of(head.volume, contrast_of(contrast))
        at = balanced_voxels(head.shares, seen.known & head.half(front=False), seed)
        features.append(seen.values.reshape(len(FEATURES), -1)[:, at].T)
        shares.append(head.shares.reshape(len(CLASSES), -1)[:, at].T)
    return train(np.concatenate(features), np.concatenate(shares))
