from dataclasses import replace

import numpy as np
import pytest

from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.testbench import (
    BONE,
    GAS,
    LINEAR,
    NO_GAIN,
    mean_db,
    plate,
    samples,
    several_views,
)


def peaks_db(imager: Imager, depths_mm: list[float]) -> list[float]:
    level = imager.beams_db(np.eye(4))[60:130]
    return [float(np.median(level[:, samples(d - 0.5, d + 0.5)].max(axis=1))) for d in depths_mm]


@pytest.mark.parametrize(("repeats", "face"), [(1.0, 0.5), (2.0, 0.25)])
def test_a_reflector_is_repeated_three_times(repeats: float, face: float) -> None:
    # Each trip meets the face (0.5) and the plate (0.6) once more: 20 log10(0.3) = -10.5 dB. The
    # tissue in between takes nothing.
    scene = plate(
        plate=replace(BONE, repeats=repeats),
        plate_depth_mm=12.0,
        attenuation_db_cm_mhz=0.0,
        backscatter_db=-80.0,
    )
    ringing = replace(NO_GAIN, reverberation=face)
    found = peaks_db(Imager(scene, LINEAR, ringing), [12.0, 24.0, 36.0, 48.0])
    np.testing.assert_allclose(np.diff(found), -10.46, atol=0.7)
    # 60 mm would be the fourth repeat, which is left out; between them there is nothing.
    assert max(peaks_db(Imager(scene, LINEAR, ringing), [30.0, 42.0])) < found[0] - 60.0


def test_tissue_weakens_repeats() -> None:
    # 0.5 dB/cm/MHz, 5 MHz, 12 mm: one more trip costs 2 * 0.5 * 5 * 1.2 = 6 dB besides -10.5 dB.
    scene = plate(plate=BONE, plate_depth_mm=12.0, backscatter_db=-80.0)
    found = peaks_db(Imager(scene, LINEAR, replace(NO_GAIN, reverberation=0.5)), [12.0, 24.0, 36.0])
    np.testing.assert_allclose(np.diff(found), -16.46, atol=0.8)


@pytest.mark.parametrize(("attenuation", "front_db"), [(0.0, 0.0), (0.5, -10.0)])
def test_gas_leaves_a_haze(attenuation: float, front_db: float) -> None:
    # 0 dB at the surface, 10 dB less per cm: -5 dB after 5 mm, -25 dB after 25 mm; 20 mm of tissue
    # in front of it take 2 * 0.5 * 5 * 2 = 10 dB.
    scene = plate(
        plate=GAS,
        plate_depth_mm=20.0,
        plate_tissue="air",
        attenuation_db_cm_mhz=attenuation,
        backscatter_db=-80.0,
    )
    views = several_views(Imager(scene, LINEAR, NO_GAIN), 12)[:, 10:-10]
    for behind_mm in (5.0, 15.0, 25.0):
        part = views[..., samples(20.0 + behind_mm - 0.5, 20.0 + behind_mm + 0.5)]
        assert mean_db(part) == pytest.approx(front_db - behind_mm, abs=0.8)
    # It has the character of speckle.
    part = views[..., samples(24.0, 36.0)]
    part = part / np.sqrt((part**2).mean(axis=(0, 1)))
    assert part.mean() / part.std() == pytest.approx(1.913, rel=0.05)


def test_bone_has_a_clean_shadow_and_haze_stays_behind_its_own_surface() -> None:
    dirty = replace(GAS, haze_db=10.0)
    narrow = {"plate_half_width_mm": 8.0, "backscatter_db": -80.0, "attenuation_db_cm_mhz": 0.0}
    behind = samples(38.0, 50.0)
    bone = several_views(Imager(plate(plate=BONE, **narrow), LINEAR, NO_GAIN))
    assert mean_db(bone[:, 86:106, behind]) < -75.0
    gas = several_views(Imager(plate(plate=dirty, **narrow), LINEAR, NO_GAIN))
    assert mean_db(gas[:, 86:106, behind]) > -15.0
    assert mean_db(gas[:, 10:30, behind]) < -75.0
    # In front there is the tissue's -80 dB and what the filters round.
    assert mean_db(gas[:, 86:106, samples(5.0, 15.0)]) < -65.0


def test_a_perfect_mirror_is_allowed() -> None:
    # 1 - R^2 = 0 has no logarithm; what passes counts as a millionth.
    perfect = replace(BONE, reflectivity=1.0)
    level = Imager(plate(plate=perfect), LINEAR, NO_GAIN).beams_db(np.eye(4))
    assert np.isfinite(level).all()
    assert level[96, samples(40.0, 50.0)].max() < -70.0
