"""The learned detector on images whose bone is known; it was trained on none of them."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_detector import BoneDetector, BoneDetectorSettings
from us_recon.occupancy.learned_evidence import LearnedEvidence
from us_recon.occupancy.mapper import MapperSettings

Images = Callable[..., np.ndarray]
LEARNED = BoneDetectorSettings(kind="learned")


def detected(image: np.ndarray, geometry: ProbeGeometry) -> np.ndarray:
    """Depth per beam after a few frames of the same image."""
    detector = BoneDetector(LEARNED)
    return [detector(image, geometry) for _ in range(3)][-1].depth_mm


def test_flat_bone_is_found_at_its_depth(linear: ProbeGeometry, bone_image: Images) -> None:
    depth_mm = detected(bone_image(linear, np.full(400, 20.0)), linear)
    assert np.isfinite(depth_mm).mean() > 0.9
    assert np.nanmedian(depth_mm) == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_speckle_alone_is_no_bone(linear: ProbeGeometry, speckle: Images, seed: int) -> None:
    image = np.clip(speckle(linear.shape, seed), 0, 255).astype(np.uint8)
    # Dark grains between bright ones may pass for a short edge, as one in sixteen beams at most.
    assert np.isfinite(detected(image, linear)).mean() < 0.1


def test_bright_line_with_tissue_below_is_no_bone(
    linear: ProbeGeometry, bone_image: Images
) -> None:
    fascia = bone_image(linear, np.full(400, 15.0), shadow=False)
    assert np.isfinite(detected(fascia, linear)).mean() < 0.05


def test_images_and_their_order_decide_everything(
    linear: ProbeGeometry, bone_image: Images
) -> None:
    image = bone_image(linear, np.full(400, 12.0))
    np.testing.assert_array_equal(detected(image, linear), detected(image, linear))


def test_no_bone_above_the_least_depth(linear: ProbeGeometry, bone_image: Images) -> None:
    detector = BoneDetector(
        MapperSettings(detector="learned", bone_min_depth_mm=24).bone_detector()
    )
    surface = detector(bone_image(linear, np.full(400, 20.0)), linear)
    assert not (surface.depth_mm < 24.0).any()


def test_image_of_another_size_is_refused(linear: ProbeGeometry) -> None:
    with pytest.raises(InputError, match="the probe geometry describes"):
        BoneDetector(LEARNED)(np.zeros((10, 10), np.uint8), linear)


def evidence_of(shares: np.ndarray, none: list[float], stride: int) -> LearnedEvidence:
    samples = (shares.shape[1] - 1) * stride + 1
    return LearnedEvidence(shares, np.array(none, np.float32), stride, samples)


def test_log_odds_compare_all_that_is_near_with_none() -> None:
    shares = np.zeros((1, 12), np.float32)
    shares[0, [3, 4]] = 0.5, 0.25
    odds = evidence_of(shares, [0.25], stride=2).log_odds[0]
    # Within two samples of 4 lies 0.75, of 6 only 0.25, against 0.25 for none; twice as many
    # samples in the image, between which the log-odds are linear.
    assert odds[8] == pytest.approx(np.log(3.0), abs=1e-5)
    assert odds[12] == pytest.approx(0.0, abs=1e-5)
    assert odds[11] == pytest.approx(np.log(3.0) / 2, abs=1e-5)
    assert odds[22] == pytest.approx(-12.0)  # nothing at all there
    assert odds.shape == (23,)


def test_depth_is_the_mean_near_the_path() -> None:
    shares = np.zeros((2, 400), np.float32)
    shares[0, [100, 101]] = 0.6, 0.2  # (0.6 100 + 0.2 101) / 0.8 = 100.25, times the stride
    shares[1, 300] = 1.0  # too far from the path to count
    sample = evidence_of(shares, [0.2, 0.0], stride=2).mean_near(np.array([202, 400]))
    assert sample == pytest.approx([200.5, 400.0], abs=1e-2)


def test_rule_and_network_outvote_each_other(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 20.0))
    found = {
        kind: BoneDetector(BoneDetectorSettings(kind=kind))(image, linear)
        for kind in ("ridge", "learned", "both")
    }
    assert found["both"].found.mean() > 0.9
    # The network tells the depth wherever it looks.
    both, learned = found["both"].depth_mm, found["learned"].depth_mm
    assert np.nanmedian(np.abs(both - learned)) < 0.02
    assert np.nanmedian(np.abs(both - found["ridge"].depth_mm)) > 0.02
