"""The network learns what it is shown, the same way each time, and survives its file."""

from pathlib import Path

import numpy as np
import torch

from us_recon.acoustics import classifier
from us_recon.acoustics.classifier import CLASSES, Classifier, save, train, trained
from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.features import FEATURES


def steps() -> tuple[np.ndarray, np.ndarray]:
    """Two classes on either side of 0, and a mixture between -0.5 and 0.5."""
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (20000, 1)).astype(np.float32)
    second = np.clip(x[:, 0] + 0.5, 0.0, 1.0)
    return x, np.stack([1.0 - second, second], axis=1)


def test_shares_of_a_mixture_are_learned() -> None:
    made = train(*steps(), seed=1).shares(np.array([[-1.5], [0.0], [1.5]], np.float32))
    expected = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert torch.allclose(made, expected, atol=0.08)
    assert torch.allclose(made.sum(dim=1), torch.ones(3))


def test_the_same_seed_gives_the_same_weights() -> None:
    x, shares = (each[:5000] for each in steps())
    a, b, other = (train(x, shares, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(a.layers[0][0], b.layers[0][0])
    assert not torch.equal(a.layers[0][0], other.layers[0][0])


def test_weights_survive_their_file(tmp_path: Path) -> None:
    x, shares = (each[:5000] for each in steps())
    network = train(x, shares)
    path = tmp_path / "map.json"
    save({"t1": network}, path)
    trained.cache_clear()
    old, classifier.WEIGHTS = classifier.WEIGHTS, path
    try:
        again: Classifier = trained()["t1"]
    finally:
        classifier.WEIGHTS = old
        trained.cache_clear()
    assert torch.allclose(again.shares(x[:50]), network.shares(x[:50]), atol=1e-3)


def test_the_package_holds_a_network_for_every_contrast() -> None:
    for contrast in CONTRASTS:
        first, *_, last = trained()[contrast].layers
        assert first[0].shape[1] == len(FEATURES)
        assert last[0].shape[0] == len(CLASSES)
