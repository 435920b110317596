"""The bone detector on images whose bone is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.scan_conversion import to_image
from us_recon.occupancy.bone_detector import BoneDetector, BoneDetectorSettings, detect_bone
from us_recon.occupancy.bone_evidence import BoneEvidenceSettings
from us_recon.occupancy.brightness import calibrate

Images = Callable[..., np.ndarray]


def columns(geometry: ProbeGeometry) -> np.ndarray:
    """Lateral position of each column, mm."""
    return geometry.pixels_to_mm(geometry.pixel_grid)[0, :, 0]


def detected(image: np.ndarray, geometry: ProbeGeometry) -> np.ndarray:
    """Depth per beam after a few frames of the same image."""
    detector = BoneDetector()
    return [detector(image, geometry) for _ in range(3)][-1].depth_mm


def test_flat_bone_is_found_at_its_depth(linear: ProbeGeometry, bone_image: Images) -> None:
    depth_mm = detected(bone_image(linear, np.full(400, 20.0)), linear)
    assert np.isfinite(depth_mm).mean() > 0.98
    # The echo's brightest row lies above the middle of the line by less than its half width,
    # because the shadow cuts its lower flank.
    assert np.nanmedian(depth_mm) == pytest.approx(20.0, abs=0.15)
    assert np.nanstd(depth_mm) < 0.1


def test_curved_bone_with_tissue_beside_it(linear: ProbeGeometry, bone_image: Images) -> None:
    # A circle of radius 15 mm about (0, 33): the top at 18 mm, seen for |x| < 9.
    x = columns(linear)
    circle = 33.0 - np.sqrt(np.maximum(15.0**2 - x**2, 0.0))
    depth_mm = detected(bone_image(linear, np.where(np.abs(x) < 9.0, circle, np.nan)), linear)
    beams_x = np.linspace(-20, 20, 128, endpoint=False) + 20 / 128
    expected = 33.0 - np.sqrt(np.maximum(15.0**2 - beams_x**2, 0.0))
    on_bone, beside = np.abs(beams_x) < 8.0, np.abs(beams_x) > 10.5
    assert np.isfinite(depth_mm[on_bone]).mean() > 0.95
    assert np.nanmax(np.abs(depth_mm - expected)[on_bone]) < 0.5
    assert not np.isfinite(depth_mm[beside]).any()


@pytest.mark.parametrize("seed", range(5))
def test_speckle_alone_is_no_bone(linear: ProbeGeometry, speckle: Images, seed: int) -> None:
    image = np.clip(speckle(linear.shape, seed), 0, 255).astype(np.uint8)
    assert not np.isfinite(detected(image, linear)).any()


def test_bright_line_with_tissue_below_is_no_bone(
    linear: ProbeGeometry, bone_image: Images
) -> None:
    fascia = bone_image(linear, np.full(400, 15.0), shadow=False)
    assert not np.isfinite(detected(fascia, linear)).any()


def test_muscle_that_fades_to_black_is_no_bone(linear: ProbeGeometry, speckle: Images) -> None:
    image = np.clip(speckle(linear.shape, fade=1.0), 0, 255).astype(np.uint8)
    assert not np.isfinite(detected(image, linear)).any()


def test_bone_below_fascia_is_the_bone(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 25.0)).astype(np.float64)
    fascia = bone_image(linear, np.full(400, 10.0), shadow=False).astype(np.float64)
    image[:180] = fascia[:180]
    assert np.nanmedian(detected(image.astype(np.uint8), linear)) == pytest.approx(25.0, abs=0.2)


def test_reverberation_is_not_a_second_bone(linear: ProbeGeometry, bone_image: Images) -> None:
    # Bone at 12 mm whose shadow is filled with clutter down to an echo at 24 mm.
    image = bone_image(linear, np.full(400, 12.0)).astype(np.float64)
    image[126:240] = 45.0
    image[236:244] = 120.0
    depth_mm = detected(image.astype(np.uint8), linear)
    assert np.nanmedian(depth_mm) == pytest.approx(12.0, abs=0.2)
    assert not (depth_mm > 20).any()


def test_gel_and_lost_contact(linear: ProbeGeometry, bone_image: Images) -> None:
    # Gel for the first 3 mm; the right quarter of the array hangs in the air: black, with a bright
    # line of reverberation near the face.
    image = bone_image(linear, np.full(400, 20.0))
    image[5:30] = 2
    image[:, 300:] = 3
    image[45:50, 300:] = 200
    surface = BoneDetector()(image, linear)
    left, right = np.arange(128) < 90, np.arange(128) > 100
    assert surface.contact[left].all()
    assert not surface.contact[right].any()
    assert not surface.found[right].any()
    assert np.nanmedian(surface.depth_mm[left]) == pytest.approx(20.0, abs=0.2)


def test_black_image_has_neither_contact_nor_bone(linear: ProbeGeometry) -> None:
    surface = BoneDetector()(np.zeros(linear.shape, np.uint8), linear)
    assert not surface.contact.any()
    assert not surface.found.any()


def test_gain_does_not_matter(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 20.0))
    dim = (image * 0.45).astype(np.uint8)
    np.testing.assert_allclose(detected(dim, linear), detected(image, linear), atol=0.15)


def test_convex_probe(speckle: Images) -> None:
    geometry = ProbeGeometry.sector(
        ProbeKind.CONVEX, 50.0, 60.0, 60.0, 500, beam_count=200, sample_count=601
    )
    beams = speckle((geometry.sample_count, geometry.beam_count)).T
    beams[:, 395:406] = 230.0  # samples every 0.1 mm: an echo about 40.0 mm
    beams[:, 406:] = 8.0
    image = np.clip(to_image(beams, geometry), 0, 255).astype(np.uint8)
    depth_mm = detected(image, geometry)
    assert np.isfinite(depth_mm).mean() > 0.95
    assert np.nanmedian(depth_mm) == pytest.approx(40.0, abs=0.2)


def test_confidence_is_higher_for_clearer_bone(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 20.0))
    faint = image.copy()
    faint[205:] = 45
    clear = BoneDetector()(image, linear)
    weak = BoneDetector()(faint, linear)
    assert ((clear.confidence > 0) & (clear.confidence < 1)).all()
    assert np.median(weak.confidence) < np.median(clear.confidence)


def test_threshold_decides(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 20.0))
    strict = BoneDetectorSettings(evidence=BoneEvidenceSettings(threshold=9.0))
    assert not BoneDetector(strict)(image, linear).found.any()


def test_min_depth_is_kept(linear: ProbeGeometry, bone_image: Images) -> None:
    image = bone_image(linear, np.full(400, 8.0))
    deep = BoneDetectorSettings(evidence=BoneEvidenceSettings(min_depth_mm=10.0))
    assert BoneDetector()(image, linear).found.any()
    assert not (BoneDetector(deep)(image, linear).depth_mm < 9.0).any()


def test_same_frames_same_result(linear: ProbeGeometry, bone_image: Images) -> None:
    images = [bone_image(linear, np.full(400, 15.0 + k), seed=k) for k in range(4)]
    first, second = BoneDetector(), BoneDetector()
    for image in images:
        a, b = first(image, linear), second(image, linear)
        np.testing.assert_array_equal(a.depth_mm, b.depth_mm)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def test_other_geometry_starts_a_new_calibration(linear: ProbeGeometry, bone_image: Images) -> None:
    detector = BoneDetector()
    image = bone_image(linear, np.full(400, 20.0))
    detector(image, linear)
    detector(image, linear)
    assert detector.calibration is not None
    assert detector.calibration.frames == 2
    detector(image, replace(linear, depth_mm=35.0))
    assert detector.calibration.frames == 1


def test_wrong_image_size_is_refused(linear: ProbeGeometry) -> None:
    with pytest.raises(InputError, match="the probe geometry describes"):
        detect_bone(np.zeros((10, 10), np.uint8), linear, BoneDetectorSettings())


def test_calibration_by_hand() -> None:
    # 10 beams of 100 samples, 0.5 mm apart: 110 in the upper half, 10 below. The floor is the
    # 2nd percentile of the lower half, 10; tissue is 110 - 10; by depth it is 1 and then 0.
    beams = np.full((10, 100), 110, np.float32)
    beams[:, 50:] = 10
    first = calibrate(beams, 0.5, None)
    assert (first.frames, first.floor, first.tissue) == (1, 10.0, 100.0)
    np.testing.assert_allclose(first.by_depth[[0, 99]], [1.0, 0.0])
    # A second frame, 10 brighter throughout, moves the floor by half of 10 and leaves the tissue.
    second = calibrate(beams + np.float32(10), 0.5, first)
    assert (second.frames, second.floor, second.tissue) == (2, 15.0, 100.0)
    np.testing.assert_allclose(second.brightness(np.array([[115.0, 0.0]], np.float32)), [[1, 0]])
    # Without shadow there is no floor to be seen: a fifth of the tissue's 110 at most.
    assert calibrate(np.full((10, 100), 110, np.float32), 0.5, None).floor == pytest.approx(22.0)
    # Tissue is expected to fade no faster than evenly, from 1 to 1/4.
    np.testing.assert_allclose(first.usual[0, [0, 49, 99]], [1.0, 1.0, 0.25], atol=1e-6)
