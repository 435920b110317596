"""The learned detector on images whose bone is known; it was trained on none of them."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy import learned_detector
from us_recon.occupancy.bone_detector import BoneDetector, BoneDetectorSettings
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


def test_shares_near_a_sample_add_up() -> None:
    shares = np.zeros((1, 12), np.float32)
    shares[0, [0, 4, 5]] = 0.25, 0.5, 0.25
    # Two samples to either side: 0.25 for 0 to 2, 0.5 from 2 on, 0.75 for 3 to 6, 0.25 at 7.
    expected = [0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.75, 0.25, 0, 0, 0, 0]
    np.testing.assert_allclose(learned_detector._near_sums(shares)[0], expected, atol=1e-6)


def test_depth_is_the_mean_near_the_path(linear: ProbeGeometry) -> None:
    shares = np.zeros((3, 401), np.float32)
    shares[0, [100, 101]] = 0.6, 0.2  # (0.6 100 + 0.2 101) / 0.8 = 100.25 samples of 0.1 mm
    shares[1, 300] = 1.0  # too far from the path to count
    depth_mm = learned_detector._mean_depth_mm(shares, np.array([101, 200, -1]), linear)
    assert depth_mm[:2] == pytest.approx([10.025, 20.0], abs=1e-3)
    assert np.isnan(depth_mm[2])
