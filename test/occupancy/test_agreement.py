"""Labels against detector, by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.occupancy.agreement import Agreement, agreeing_share
from us_recon.occupancy.surface import BeamSurface

Surfaces = Callable[..., BeamSurface]


def depths(*runs: tuple[int, float]) -> np.ndarray:
    return np.concatenate([np.full(count, depth_mm) for count, depth_mm in runs])


def test_share_by_hand(flat_surface: Surfaces) -> None:
    # 80 beams: both on 60 of them, of which 45 are 1 mm apart and 15 are 5 mm apart.
    label = flat_surface(depths((60, 20.0), (20, np.nan)))
    found = flat_surface(depths((45, 21.0), (15, 25.0), (20, 20.0)))
    assert agreeing_share(label, found) == pytest.approx(0.75)
    assert agreeing_share(label, flat_surface(np.nan)) is None


def test_a_good_detector_keeps_its_weight_though_half_the_labels_are_off(
    flat_surface: Surfaces,
) -> None:
    agreement, found = Agreement(), flat_surface(20.0)
    dropped = [
        agreement.contradicts(flat_surface(20.0 if number % 2 == 0 else 23.0), found)
        for number in range(12)
    ]
    assert agreement.trust == 1.0
    # From the fourth label on, those that are off are told from the others.
    assert dropped == [False] * 3 + [True, False] * 4 + [True]


def test_a_detector_that_half_the_beams_contradict_is_worth_nothing(
    flat_surface: Surfaces,
) -> None:
    agreement = Agreement()
    found = flat_surface(depths((40, 20.0), (40, 30.0)))
    assert agreement.weighted(found).confidence[0] == 1.0
    for _ in range(4):
        assert not agreement.contradicts(flat_surface(20.0), found)
    assert agreement.trust == 0.0
    # Right on three quarters: 2 * 0.75 - 1 to the power of four.
    better = Agreement()
    for _ in range(4):
        better.contradicts(flat_surface(20.0), flat_surface(depths((60, 20.0), (20, 30.0))))
    assert better.weighted(found).confidence[0] == pytest.approx(0.0625)
