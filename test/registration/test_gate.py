"""The gates: each can close, and says what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.gate import Evidence, doubts, missing_before, score_threshold
from us_recon.registration.observation import observe
from us_recon.registration.settings import RegistrationSettings

SETTINGS = RegistrationSettings(min_score=0.1, min_coverage=0.5, capture_mm=6.0, capture_deg=6.0)
GOOD = Evidence(
    score=0.4,
    chance_score=0.2,
    gap=0.1,
    area_mm2=40_000.0,
    coverage=0.9,
    moved_mm=4.0,
    turned_deg=3.0,
)


def test_good_evidence_leaves_no_doubt() -> None:
    assert doubts(GOOD, SETTINGS) == []
    assert GOOD.confidence > 0.95


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"coverage": 0.4}, "40% of the images lie inside"),
        ({"chance_score": 0.41}, "score 0.400, 0.410 needed"),
        ({"score": 0.05, "chance_score": 0.0}, "score 0.050, 0.100 needed"),
        ({"gap": 0.0, "chance_score": 0.39}, "two poses explain the images, lead 0.000"),
        ({"gap": float("nan")}, "no other pose was compared"),
        # 3 more than the region: a search may end a little outside of it.
        ({"moved_mm": 9.5}, "lies 9.5 mm and 3.0 deg"),
        ({"turned_deg": 9.5}, "lies 4.0 mm and 9.5 deg"),
        ({"score": float("nan")}, "better than chance"),
        ({"coverage": float("nan")}, "inside the MRI"),
        ({"moved_mm": float("nan")}, "better initial pose"),
    ],
)
def test_each_gate_can_close(change: dict[str, float], words: str) -> None:
    found = doubts(replace(GOOD, **change), SETTINGS)
    assert len(found) == 1 and words in found[0]


def test_the_threshold_follows_chance() -> None:
    assert score_threshold(replace(GOOD, chance_score=0.25), SETTINGS) == pytest.approx(0.25)
    assert score_threshold(replace(GOOD, chance_score=0.05), SETTINGS) == pytest.approx(0.1)
    unknown = replace(GOOD, chance_score=float("nan"))
    assert score_threshold(unknown, SETTINGS) == pytest.approx(0.1)


def test_frames_that_show_too_little_are_named(
    frames: list[TrackedFrame], settings: RegistrationSettings
) -> None:
    window = observe(frames, settings)
    assert missing_before(window, settings) == []
    # Five frames of 24 x 24 mm, 28 cm2; one plane spans nothing.
    (area,) = missing_before(window, replace(settings, min_area_mm2=4000.0))
    assert "28 cm2" in area and "40 needed" in area
    (spread,) = missing_before(observe(frames[:1], settings), settings)
    assert "coverage too small" in spread and "tilt" in spread
    dark = replace(window, valid=torch.zeros_like(window.valid))
    assert "contact" in missing_before(dark, settings)[0]
    assert np.isfinite(dark.area_mm2)
