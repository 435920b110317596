from dataclasses import replace

import cv2
import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.scan_conversion import to_beams, to_image

GEOMETRIES = [
    ProbeGeometry.linear(40.0, 60.0, 400, 600, beam_count=192),
    ProbeGeometry.sector(ProbeKind.CONVEX, 60.0, 70.0, 120.0, 640, beam_count=192),
    ProbeGeometry.sector(ProbeKind.PHASED, 0.0, 90.0, 100.0, 640, beam_count=192),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_beams_to_image_and_back(geometry: ProbeGeometry) -> None:
    noise = np.random.default_rng(0).random((geometry.beam_count, geometry.sample_count))
    beams = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 4.0)
    back = to_beams(to_image(beams, geometry), geometry)
    # Beams of a sector meet at its apex: there they are closer than pixels and cannot be kept.
    first = 0 if geometry.kind is ProbeKind.LINEAR else 120
    difference = np.abs(back - beams)[4:-4, max(first, 4) : -4]
    assert difference.max() < 0.05 * np.ptp(beams)


def test_a_bright_pixel_lands_on_its_beam_and_sample() -> None:
    # 40 columns of 1 mm, 40 beams: beam k is column k. 21 samples over 20 mm: sample s lies at
    # depth s mm; row r is centred at r + 0.5 mm, so row 4 spreads over samples 4 and 5.
    geometry = ProbeGeometry.linear(40.0, 20.0, 40, 20, beam_count=40, sample_count=21)
    image = np.zeros((20, 40), np.uint8)
    image[4, 7] = 100
    beams = to_beams(image, geometry)
    assert beams[7, 4] == pytest.approx(50) and beams[7, 5] == pytest.approx(50)
    assert beams.sum() == pytest.approx(100)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_outside_the_sector_is_the_fill(geometry: ProbeGeometry) -> None:
    beams = np.ones((geometry.beam_count, geometry.sample_count), np.float32)
    image = to_image(beams, geometry, fill=-1.0)
    np.testing.assert_allclose(image[geometry.fan_mask], 1.0, atol=1e-5)
    assert (image[~geometry.fan_mask] == -1.0).all()


def test_skewed_pixels_are_followed() -> None:
    straight = ProbeGeometry.linear(40.0, 40.0, 80, 80, beam_count=40, sample_count=41)
    skewed = replace(straight, skew_mm=0.05)
    # A vertical line of pixels at column 60 drifts by 0.05 mm per row of 0.5 mm: at depth d it
    # stands 0.1 d aside, so 20 mm deep it is 2 mm, or two 1 mm beams, to the marked side.
    image = np.zeros((80, 80), np.float32)
    image[:, 60] = 1.0
    beams = to_beams(image, skewed)
    shift = np.argmax(beams[:, 20]) - np.argmax(to_beams(image, straight)[:, 20])
    assert shift == 2


def test_wrong_sizes_are_refused() -> None:
    geometry = GEOMETRIES[0]
    with pytest.raises(InputError, match="image is"):
        to_beams(np.zeros((10, 10), np.uint8), geometry)
    with pytest.raises(InputError, match="beams are"):
        to_image(np.zeros((10, 10), np.float32), geometry)
