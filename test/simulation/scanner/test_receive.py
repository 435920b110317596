from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.settings import from_mapping
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.scanner.receive import Receiver, ReceiveSettings, slider_gain_db
from us_recon.simulation.testbench import BONE, LINEAR, NO_GAIN, QUIET, mean_db, plate

FLAT = ReceiveSettings(tgc_db_cm_mhz=0.0)


def test_sliders_by_hand() -> None:
    # Four sliders have their middles at 1/8, 3/8, 5/8, 7/8. Half-way between two it is their mean;
    # a quarter of the way 3/16 - 2/64 = 0.15625 of the step: 1.875 dB of 12.
    share = np.array([0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.875, 1.0, 0.1875])
    gain = slider_gain_db((0.0, 12.0, -6.0, 2.0), share)
    np.testing.assert_allclose(gain, [0, 0, 6, 12, 3, -6, 2, 2, 1.875], atol=1e-9)
    np.testing.assert_allclose(slider_gain_db((3.0,), share), 3.0)


def test_sliders_and_gain_raise_the_image_by_what_they_say() -> None:
    scene = plate(2.0)
    before = Imager(scene, LINEAR, QUIET).beams_db(np.eye(4))
    sliders = (0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0)
    moved = replace(QUIET, gain_db=7.0, tgc_sliders_db=sliders)
    added = Imager(scene, LINEAR, moved).beams_db(np.eye(4)) - before
    np.testing.assert_allclose(added[:, :200], 7.0, atol=1e-3)
    # The fifth of eight sliders has its middle at 9/16 of the depth: sample 287.4.
    np.testing.assert_allclose(added[:, 287], 13.0, atol=1e-2)


def test_gain_lifts_the_noise_as_well() -> None:
    air = np.eye(4)
    air[1, 3] = -60.0
    settings = replace(NO_GAIN, coupling_mm=3.0, lens_echo_db=-150.0, noise_db=-40.0, gain_db=15.0)
    level = Imager(plate(4.0), LINEAR, settings).beams_db(air)
    assert mean_db(10.0 ** (level / 20.0)) == pytest.approx(-25.0, abs=0.1)


def test_the_limiter_by_hand() -> None:
    # White is 28 dB, the limit 12 dB above: 40 dB. There it takes 5 log10(2) = 1.505 dB, 10 dB
    # below 5 log10(1.01) = 0.022 dB; far above, the limit is what is left.
    level_db = np.array([-20.0, 30.0, 40.0, 80.0])
    signal = (10.0 ** (level_db / 20.0))[None, :].astype(np.complex64) * np.complex64(1j)
    four = replace(LINEAR, sample_count=4)
    found = Receiver(four, replace(FLAT, saturation_db=12.0)).level_db(signal)
    np.testing.assert_allclose(found[0], [-20.0, 29.978, 38.495, 40.0], atol=1e-3)


def test_strong_echoes_flatten_weak_ones_do_not() -> None:
    # A mirror's 50.6 dB and 10 dB of gain against a limit of 28 - 6 = 22 dB.
    scene = plate(plate=BONE, backscatter_db=-20.0, attenuation_db_cm_mhz=0.0)
    linear = replace(NO_GAIN, gain_db=10.0)
    free = Imager(scene, LINEAR, linear).beams_db(np.eye(4))
    limited = Imager(scene, LINEAR, replace(linear, saturation_db=-6.0)).beams_db(np.eye(4))
    assert free.max() > 58.0
    assert limited.max() == pytest.approx(22.0, abs=0.1)
    weak = free < -10.0
    np.testing.assert_allclose(limited[weak], free[weak], atol=1e-3)
    assert np.all(np.diff(limited.ravel()[np.argsort(free.ravel())]) >= -1e-3)


def test_grey_values_span_the_dynamic_range() -> None:
    # 28 dB is white, 60 dB below is black; half-way, at -2 dB, is 127.5.
    grey = Receiver(LINEAR, FLAT).grey(np.array([[-90.0, -32.0, -2.0, 28.0, 90.0]], np.float32))
    np.testing.assert_allclose(grey[0], [0.0, 0.0, 127.5, 255.0, 255.0], atol=1e-3)


def test_defaults_are_neutral_and_every_setting_is_checked() -> None:
    default = ImagerSettings()
    assert default.gain_db == 0.0 and default.compression_mm == 0.0
    assert not any(default.tgc_sliders_db) and len(default.tgc_sliders_db) == 8
    moved = from_mapping(ImagerSettings, {"tgc_sliders_db": [1, 2, 3, 4, 5, 6, 7, 8]})
    assert moved.tgc_sliders_db == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    with pytest.raises(ConfigError, match="tgc_sliders_db"):
        from_mapping(ImagerSettings, {"tgc_sliders_db": [1, 2]})
    with pytest.raises(ConfigError, match="compression_mm is 50"):
        from_mapping(ImagerSettings, {"compression_mm": 50.0})
    with pytest.raises(ConfigError, match="tgc_sliders_db is empty"):
        Receiver(LINEAR, replace(FLAT, tgc_sliders_db=()))
