"""Labels against detector, by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.agreement import Agreement, agreeing_share
from us_recon.occupancy.surface import BeamSurface, SurfaceSource

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
    assert agreement.judged(found).trust == 1.0
    for _ in range(4):
        assert not agreement.contradicts(flat_surface(20.0), found)
    assert agreement.trust == 0.0
    # Right on three quarters: 2 * 0.75 - 1 to the power of four.
    better = Agreement()
    for _ in range(4):
        better.contradicts(flat_surface(20.0), flat_surface(depths((60, 20.0), (20, 30.0))))
    assert better.judged(found).trust == pytest.approx(0.0625)


def test_a_label_weighs_the_more_the_less_the_detector_is_trusted(flat_surface: Surfaces) -> None:
    label = flat_surface(20.0)
    found = replace(label, source=SurfaceSource.DETECTOR)
    worth = [(replace(label, trust=t).worth, replace(found, trust=t).worth) for t in (1, 0.25, 0)]
    assert worth == [(1.0, 1.0), (4.0, 1.0), (pytest.approx(10.0), 1.0)]


def test_beams_of_a_sector_are_compared_where_they_are(flat_surface: Surfaces) -> None:
    # The beams of a phased array go from -40 to 40 degrees, edge to edge: every second one of 81
    # is one of 41. A depth that is the beam's angle tells whether they were taken for each other.
    fine = ProbeGeometry.sector(ProbeKind.PHASED, 0.0, 80.0, 60.0, 120, beam_count=81)
    coarse = replace(fine, beam_count=41)
    label = flat_surface(np.linspace(10.0, 50.0, 81), fine)
    depth_mm, _ = label.on_beams_of(coarse, jump_mm=1.0)
    np.testing.assert_allclose(depth_mm, np.linspace(10.0, 50.0, 41), atol=1e-3)
