import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.region import WHOLE_IMAGE, Fan, ImageRegion


def test_the_whole_image() -> None:
    assert WHOLE_IMAGE.mask(4, 6).all() and WHOLE_IMAGE.rectangle(4, 6) == (0, 0, 5, 3)


def test_a_clip_rectangle() -> None:
    region = ImageRegion(clip_px=(1, 2, 3, 10))
    expected = np.zeros((4, 6), bool)
    expected[2:4, 1:4] = True  # it ends with the image
    np.testing.assert_array_equal(region.mask(4, 6), expected)
    assert region.rectangle(4, 6) == (1, 2, 3, 3)


def test_a_fan_keeps_one_pixel_clear_of_its_outline() -> None:
    # Origin (10, 0), +-45 degrees, radii 4 to 9.
    mask = Fan((10.0, 0.0), (-45.0, 45.0), (4.0, 9.0)).mask(12, 21)
    # Straight down: rows 5 (4 + 1) to 8 (9 - 1).
    assert np.flatnonzero(mask[:, 10]).tolist() == [5, 6, 7, 8]
    # Row 6: the edges are at columns 10 +- 6; the distance of column 10 + x to them is
    # (6 - x) / sqrt(2), at least 1 for x <= 4; radius sqrt(36 + 16) = 7.2 is inside.
    assert np.flatnonzero(mask[6]).tolist() == list(range(6, 15))
    np.testing.assert_array_equal(mask, mask[:, ::-1])


def test_a_fan_is_turned_towards_positive_columns() -> None:
    mask = Fan((10.0, 0.0), (0.0, 45.0), (0.0, 9.0)).mask(12, 21)
    assert mask.any() and not mask[:, :11].any()


@pytest.mark.parametrize(
    ("angles", "radii", "message"),
    [
        ((10.0, -10.0), (0.0, 5.0), "first < last"),
        ((-95.0, 10.0), (0.0, 5.0), "-90 < first"),
        ((-10.0, 10.0), (6.0, 5.0), "inner < outer"),
    ],
)
def test_impossible_fans(
    angles: tuple[float, float], radii: tuple[float, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Fan((0.0, 0.0), angles, radii)


def test_regions_outside_the_image_are_refused() -> None:
    with pytest.raises(InputError, match="no pixel of an image of 6 x 4"):
        ImageRegion(clip_px=(50, 0, 3, 3)).mask(4, 6)
    with pytest.raises(InputError, match="1 or more"):
        ImageRegion(clip_px=(0, 0, 0, 3))
