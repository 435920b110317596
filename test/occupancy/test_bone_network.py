"""The network behind the learned detector, and how it is trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy import bone_network, bone_training
from us_recon.occupancy.bone_network import BEAMS, STEP_MM, log_shares
from us_recon.occupancy.bone_training import TrainingImage, cut_off, outcomes, spoilt, train
from us_recon.occupancy.brightness import coarse_geometry


@pytest.fixture(scope="module")
def coarse(linear: ProbeGeometry) -> ProbeGeometry:
    return coarse_geometry(linear, BEAMS, STEP_MM)


@pytest.fixture(scope="module")
def plate(linear: ProbeGeometry, bone_image: Callable[..., np.ndarray]) -> TrainingImage:
    """Bone 20 mm deep below the left half of the probe, and its label."""
    depth_mm = np.where(np.arange(400) < 200, 20.0, np.nan)
    rows_mm = linear.pixels_to_mm(linear.pixel_grid)[..., 1]
    label = ((rows_mm >= depth_mm) & (rows_mm < depth_mm + 3)).astype(np.uint8)
    return bone_training.training_image(bone_image(linear, depth_mm), label, linear)


@pytest.mark.parametrize("size", [(128, 134), (37, 61), (16, 16)])
def test_each_beam_has_one_outcome(size: tuple[int, int]) -> None:
    beams, samples = size
    inputs = torch.rand((2, bone_network.INPUTS, *size), generator=torch.Generator().manual_seed(0))
    shares = log_shares(bone_network.drawn(0), inputs).exp()
    assert shares.shape == (2, beams, samples + 1)
    np.testing.assert_allclose(shares.sum(dim=2).numpy(), 1.0, atol=1e-5)


def test_weights_are_kept_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.npz"
    weights = bone_network.drawn(3)
    bone_network.save(weights, path)
    monkeypatch.setattr(bone_network, "WEIGHTS", path)
    bone_network.trained.cache_clear()
    again = bone_network.trained()
    bone_network.trained.cache_clear()
    assert again.keys() == weights.keys()
    # Ten bits after the point: half of 2^-10 of the value, and 2^-25 near zero.
    for name, weight in weights.items():
        np.testing.assert_allclose(again[name], weight, rtol=2**-11, atol=2**-25)


def test_the_package_has_weights_of_less_than_300_kb() -> None:
    assert bone_network.WEIGHTS.stat().st_size < 300_000
    shapes = {name: weight.shape for name, weight in bone_network.drawn(0).items()}
    assert {name: weight.shape for name, weight in bone_network.trained().items()} == shapes


def test_an_image_for_training_knows_where_bone_begins(plate: TrainingImage) -> None:
    # Rows are at 0.05, 0.15, ... mm: the label's first row is 20.05 mm deep, half a row above it
    # is the edge.
    assert np.nanmedian(plate.depth_mm[:62]) == pytest.approx(20.0, abs=0.05)
    assert np.isnan(plate.depth_mm[66:]).all()


def test_outcomes_lie_at_the_surface_or_say_none(plate: TrainingImage) -> None:
    shares = outcomes(plate)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    samples_mm = shares[:62, :-1] @ plate.geometry.sample_depths_mm
    assert samples_mm == pytest.approx(plate.depth_mm[:62], abs=0.02)
    np.testing.assert_array_equal(shares[66:, -1], 1.0)


def test_what_is_cut_off_shows_no_bone(plate: TrainingImage) -> None:
    upper, most = cut_off(plate, 0.4), cut_off(plate, 0.8)
    assert upper.geometry.depth_mm == pytest.approx(16.0, abs=STEP_MM)
    assert np.isnan(upper.depth_mm).all()
    np.testing.assert_array_equal(most.depth_mm, plate.depth_mm)
    np.testing.assert_array_equal(most.grey, plate.grey[:, : most.grey.shape[1]])


def test_spoiling_keeps_size_and_depths(plate: TrainingImage) -> None:
    draw = np.random.default_rng(0)
    for _ in range(10):
        other = spoilt(plate, draw)
        assert other.grey.shape == plate.grey.shape and other.grey.dtype == np.uint8
        assert (other.grey != plate.grey).any()
        # At most turned from left to right.
        assert np.isfinite(other.depth_mm).sum() == np.isfinite(plate.depth_mm).sum()


def test_training_learns_where_the_plate_is(
    plate: TrainingImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bone_training, "BATCH", 2)
    monkeypatch.setattr(bone_training, "spoilt", lambda image, _: image)
    monkeypatch.setattr(bone_training, "SHOWN", (1.0,))
    one, two = (train([plate, plate], epochs=epochs, seed=1) for epochs in (40, 40))
    assert all((one[name] == two[name]).all() for name in one)
    examples = bone_training.example(plate, np.random.default_rng(0))
    with torch.inference_mode():
        shares = log_shares(one, torch.from_numpy(examples[0])[None])[0].exp().numpy()
    on, beside = shares[4:58], shares[70:124]
    assert on[:, :-1].argmax(axis=1) * STEP_MM == pytest.approx(20.0, abs=0.5)
    assert np.median(on[:, -1]) < 0.3 and np.median(beside[:, -1]) > 0.7
