from dataclasses import replace

import numpy as np
import pytest

from us_recon.simulation.scanner.beam import Beam, BeamSettings
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.scanner.near_field import DriftingNoise
from us_recon.simulation.testbench import LINEAR, NO_GAIN, mean_db, plate, samples, several_views


def test_clutter_has_its_level_and_fades() -> None:
    # -5 dB at the face and 20 log10(e) = 8.69 dB less per decay length of 5 mm.
    scene = plate(2.0, backscatter_db=-80.0, attenuation_db_cm_mhz=0.0)
    settings = replace(NO_GAIN, clutter_db=-5.0, clutter_mm=5.0)
    views = several_views(Imager(scene, LINEAR, settings), 16)[:, 10:-10]
    for depth_mm in (3.0, 8.0, 15.0):
        part = views[..., samples(depth_mm - 0.5, depth_mm + 0.5)]
        assert mean_db(part) == pytest.approx(-5.0 - 8.686 * depth_mm / 5.0, abs=0.8)
    part = views[..., samples(2.0, 20.0)]
    part = part / np.sqrt((part**2).mean(axis=(0, 1)))
    assert part.mean() / part.std() == pytest.approx(1.913, rel=0.05)


def test_ring_down_by_hand() -> None:
    # 25 dB is 17.78; after one decay length 1/e of it, on every beam.
    scene = plate(4.0, backscatter_db=-120.0)
    imager = Imager(scene, LINEAR, replace(NO_GAIN, ring_down_db=25.0, ring_down_mm=2.0))
    found = np.abs(imager.echoes(np.eye(4)))
    np.testing.assert_allclose(found[:, 0], 17.78, rtol=1e-2)
    np.testing.assert_allclose(found[:, 17], 17.78 * np.exp(-17 * 60 / 511 / 2.0), rtol=1e-2)


def test_drifting_noise_stays_with_the_transducer_and_changes_as_it_moves() -> None:
    # One length away the correlation is exp(-1/2) = 0.61 on average, a tenth away 0.995; far away
    # eight waves agree by chance with 1 / sqrt(8) = 0.35 root mean square.
    small = replace(LINEAR, beam_count=24, sample_count=64)
    transfer = Beam(small, BeamSettings()).transfer()
    here = np.eye(4)
    kept: dict[float, list[float]] = {0.1: [], 1.0: [], 20.0: []}
    power = []
    for seed in range(40):
        noise = DriftingNoise(transfer, (24, 64), seed, length_mm=2.0)
        first = noise.at(here, 64)
        np.testing.assert_array_equal(first, noise.at(here, 64))
        np.testing.assert_array_equal(first[:, :9], noise.at(here, 9))
        blurred = transfer.blur_along(first)[4:-4, 8:-8]
        power.append((np.abs(blurred) ** 2).mean())
        for lengths, found in kept.items():
            there = here.copy()
            there[:3, 3] = 2.0 * lengths * np.array([0.6, 0.0, 0.8])
            moved = noise.at(there, 64)
            norm = np.linalg.norm(first) * np.linalg.norm(moved)
            found.append(float(np.abs(np.vdot(first, moved)) / norm))
    assert np.mean(power) == pytest.approx(1.0, abs=0.05)
    assert np.mean(kept[0.1]) == pytest.approx(0.995, abs=0.005)
    assert np.mean(kept[1.0]) == pytest.approx(0.61, abs=0.1)
    assert np.sqrt(np.mean(np.square(kept[20.0]))) == pytest.approx(0.354, abs=0.1)


def test_a_turn_changes_the_noise_too() -> None:
    small = replace(LINEAR, beam_count=24, sample_count=64)
    noise = DriftingNoise(Beam(small, BeamSettings()).transfer(), (24, 64), 1, length_mm=1.0)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[0.0, -1.0], [1.0, 0.0]]
    first, other = noise.at(np.eye(4), 64), noise.at(turned, 64)
    norm = np.linalg.norm(first) * np.linalg.norm(other)
    assert np.abs(np.vdot(first, other)) / norm < 0.8
