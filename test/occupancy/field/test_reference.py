"""The compiled fit against its twin in PyTorch: values, gradients and where they lead."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from us_recon.occupancy.field.batch import Batch, draw_batch
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.reference import TorchField
from us_recon.occupancy.field.replay import Replay

Started = Callable[..., tuple[FieldFit, Replay]]
LOSSES = pytest.mark.parametrize("label_loss", ["balanced", "transmitted"])


def moved(started: Started, steps: int, **settings: object) -> tuple[FieldFit, Replay]:
    fit, replay = started(**settings)
    for _ in range(steps):
        fit.step(replay)
    return fit, replay


def drawn(fit: FieldFit, replay: Replay) -> Batch:
    batch = draw_batch(replay, fit.settings, fit.random)
    assert batch is not None
    return batch


def test_outputs_agree(started: Started) -> None:
    fit, replay = moved(started, 30)
    points = drawn(fit, replay).points_mm
    points = np.vstack([points, [[500.0, 0.0, 0.0]]]).astype(np.float32)  # one where nothing is
    expected = TorchField(fit)(points).detach().numpy()
    assert expected[:, 0].std() > 0.3  # thirty steps have told points apart
    np.testing.assert_allclose(fit._look(points).raw, expected, rtol=1e-4, atol=1e-4)


@LOSSES
@pytest.mark.parametrize("sound_passes", [False, True])
def test_gradients_agree(started: Started, label_loss: str, sound_passes: bool) -> None:
    # A step moves Adam's first moment m to 0.9 m + 0.1 g: that tells the compiled gradient g.
    fit, replay = moved(started, 20, label_loss=label_loss, sound_passes=sound_passes)
    twin = TorchField(fit)
    batch = drawn(fit, replay)
    twin.loss(batch).backward()
    before = [m.copy() for m in fit.network.mean]
    features = [lattice.mean.copy() for lattice in fit.lattices]
    fit.learn(batch)
    for now, then, weight in zip(fit.network.mean, before, twin.weights, strict=True):
        gradient = (now - 0.9 * then) / 0.1
        expected = weight.grad.numpy()
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-3 * scale)
    assert fit.clutter is not None
    for lattice, then, grid in zip(fit.lattices, features, twin.grids, strict=True):
        expected = grid.weight.grad.to_dense().numpy()[:-1]
        touched = np.abs(expected).max(axis=1) > 0
        gradient = (lattice.mean[touched] - 0.9 * then[touched]) / 0.1
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected[touched], rtol=0, atol=2e-3 * scale)


@LOSSES
def test_forty_steps_lead_to_the_same_place(started: Started, label_loss: str) -> None:
    fit, replay = started(label_loss=label_loss)
    twin = TorchField(fit)
    for _ in range(40):
        batch = drawn(fit, replay)
        fit.learn(batch)
        twin.learn(batch)
    points = drawn(fit, replay).points_mm
    with torch.no_grad():
        expected = twin(points)[:, 0].numpy()
    assert expected.std() > 0.3
    np.testing.assert_allclose(fit.log_odds(points), expected, rtol=0, atol=0.05 * expected.std())
    np.testing.assert_allclose(fit.clutter, twin.clutter.detach().numpy(), rtol=0, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees(started: Started) -> None:
    fit, replay = moved(started, 10)
    points = drawn(fit, replay).points_mm
    here, there = TorchField(fit)(points), TorchField(fit, "cuda")(points).cpu()
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)
