"""The tissues' intensities are found whatever the scanner's gain and offset."""

import numpy as np
import pytest

from us_recon.acoustics.contrasts import CONTRASTS, contrast_of
from us_recon.acoustics.histogram import class_intensities
from us_recon.errors import InputError

MEANS = {
    "t1": {"csf": 0.3, "grey_matter": 0.75, "white_matter": 1.0},
    "t2": {"csf": 1.0, "grey_matter": 0.48, "white_matter": 0.32},
    "flair": {"csf": 0.15, "grey_matter": 1.0, "white_matter": 0.78},
}
COUNTS = {"csf": 6000, "grey_matter": 40000, "white_matter": 30000}


def drawn(contrast: str, gain: float, offset: float, fluid: int = COUNTS["csf"]) -> np.ndarray:
    draw = np.random.default_rng(3)
    counts = {**COUNTS, "csf": fluid}
    values = [draw.normal(MEANS[contrast][name], 0.05, count) for name, count in counts.items()]
    ends = MEANS[contrast]["csf"], MEANS[contrast]["grey_matter"]
    partial = draw.uniform(min(ends), max(ends), fluid)
    return gain * (np.concatenate([*values, partial]) + offset)


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (800.0, 0.2)])
def test_means_are_recovered(contrast: str, gain: float, offset: float) -> None:
    found = class_intensities(drawn(contrast, gain, offset), contrast_of(contrast))
    for name, mean in MEANS[contrast].items():
        tolerance = 0.08 if name == "csf" else 0.03
        assert found.mean[name] / gain - offset == pytest.approx(mean, abs=tolerance), name
    assert found.share["grey_matter"] > found.share["csf"]
    assert found.gain_nats > 0.05


def test_a_crop_with_hardly_any_fluid_keeps_grey_and_white_apart() -> None:
    found = class_intensities(drawn("t1", 500.0, 0.0, fluid=300), contrast_of("t1"))
    # Where fluid lies cannot be told here; grey and white matter can.
    assert found.mean["grey_matter"] == pytest.approx(375.0, abs=15.0)
    assert found.mean["white_matter"] == pytest.approx(500.0, abs=15.0)


def test_one_hump_gains_nothing_by_three_tissues() -> None:
    values = np.random.default_rng(0).normal(100.0, 20.0, 50000)
    assert class_intensities(values, contrast_of("t1")).gain_nats < 0.01


def test_a_constant_image_is_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        class_intensities(np.full(1000, 7.0), contrast_of("t1"))


def test_an_unknown_contrast_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'pd'.*t1, t2, flair"):
        contrast_of("pd")
