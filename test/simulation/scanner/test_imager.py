from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.phantoms import SOFT_PLATE, Phantom
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.scene import on_grid
from us_recon.simulation.testbench import (
    BONE,
    CONVEX,
    LINEAR,
    NO_GAIN,
    PHASED,
    QUIET,
    plate,
    several_views,
)


def test_speckle_of_uniform_tissue_is_fully_developed(uniform: Imager) -> None:
    # A Rayleigh distributed envelope has mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913.
    envelope = several_views(uniform)[:, 8:-8]
    for first, last in ((60, 180), (180, 330), (330, 500)):
        part = envelope[..., first:last]
        # The level still varies with depth, as gain and attenuation differ: take it out.
        part = part / np.sqrt((part**2).mean(axis=(0, 1)))
        assert part.mean() / part.std() == pytest.approx(1.913, rel=0.05)


SECTORS = [CONVEX, PHASED]


@pytest.mark.parametrize("geometry", [replace(LINEAR, centre_frequency_mhz=4.0), *SECTORS])
def test_speckle_has_the_tissues_level_at_every_depth(geometry: ProbeGeometry) -> None:
    # Gain and attenuation cancel at 0.6 dB/cm/MHz; -6 dB backscatter then shows as -6 dB.
    phantom = Phantom(attenuation_db_cm_mhz=0.6, backscatter_db=-6.0, half_mm=60.0)
    imager = Imager(on_grid(phantom, 4.0, 3.0), geometry, QUIET)
    power = several_views(imager)[:, 12:-12] ** 2
    for first_mm in (10.0, 25.0, 40.0):
        first, last = np.round((np.array([0.0, 15.0]) + first_mm) / geometry.sample_step_mm)
        level_db = 10.0 * np.log10(power[..., int(first) : int(last)].mean())
        assert level_db == pytest.approx(-6.0, abs=0.5)
    assert imager.beams_db(np.eye(4)).max() < 30.0


@pytest.mark.parametrize("asked", [0.3, 0.7])
def test_attenuation_slope(linear: ProbeGeometry, asked: float) -> None:
    # There and back at 5 MHz: the level falls by 2 * asked * 5 dB per cm.
    imager = Imager(on_grid(Phantom(asked), 5.0, 2.0), linear, NO_GAIN)
    power_db = 10.0 * np.log10((several_views(imager)[:, 8:-8] ** 2).mean(axis=(0, 1)))
    depth_cm = linear.sample_depths_mm / 10.0
    kept = (depth_cm > 0.5) & (depth_cm < 5.5)
    slope = np.polyfit(depth_cm[kept], power_db[kept], 1)[0]
    assert slope == pytest.approx(-10.0 * asked, rel=0.03)


def correlation_width(signal: np.ndarray, axis: int, step_mm: float) -> float:
    """Return the width at half height of the signal's autocorrelation."""
    spectrum = np.abs(np.fft.fft(signal, n=2 * signal.shape[axis], axis=axis)) ** 2
    correlation = np.abs(np.fft.ifft(spectrum.mean(axis=1 - axis)))
    correlation /= correlation[0]
    beyond = int(np.argmax(correlation < 0.5))
    before, after = correlation[beyond - 1], correlation[beyond]
    return 2.0 * (beyond - 1 + (before - 0.5) / (before - after)) * step_mm


@pytest.mark.parametrize("depth_mm", [15.0, 30.0, 50.0])
def test_width_of_the_point_spread_function(
    uniform: Imager, linear: ProbeGeometry, depth_mm: float
) -> None:
    # The signal of random scatterers correlates over the point spread function's own
    # autocorrelation, which for a Gaussian is wider by sqrt(2).
    T = np.eye(4)
    signals = []
    for z in (-20.0, -10.0, 0.0, 10.0, 20.0):
        T[2, 3] = z
        signals.append(uniform.echo_signal(T))
    at = round(depth_mm / linear.sample_step_mm)
    part = np.concatenate([s[:, at - 20 : at + 20] for s in signals], axis=1)
    lateral = correlation_width(part, 0, linear.width_mm / linear.beam_count) / np.sqrt(2.0)
    assert lateral == pytest.approx(
        float(uniform.beam.lateral_fwhm_mm(np.array([depth_mm]))[0]), rel=0.06
    )
    along = np.concatenate(signals, axis=0)[:, 60:]
    axial = correlation_width(along, 1, linear.sample_step_mm) / np.sqrt(2.0)
    assert axial == pytest.approx(uniform.beam.axial_fwhm_mm, rel=0.05)


def test_shadow_behind_bone(linear: ProbeGeometry) -> None:
    # A bone plate of 8 mm at 5 MHz: 2 * 6.9 dB/cm/MHz * 5 MHz * 0.8 cm = 55 dB, and two faces at
    # R = 0.6 cost -20 log10(1 - 0.36) = 3.9 dB each: 63 dB in all.
    scene = plate(plate=BONE, plate_half_width_mm=8.0, attenuation_db_cm_mhz=0.6)
    imager = Imager(scene, linear, QUIET, seed=5)
    envelope = several_views(imager)
    behind = slice(round(36.0 / linear.sample_step_mm), round(50.0 / linear.sample_step_mm))
    shadow, beside = envelope[:, 86:106, behind], envelope[:, 10:30, behind]
    contrast_db = 10.0 * np.log10((beside**2).mean() / (shadow**2).mean())
    # Neighbouring beams reach under a plate of 16 mm: some of it is filled from the sides.
    assert contrast_db > 35.0
    # The echo of the plate itself: 0.6 is -4.4 dB below a mirror, which is set to 55 dB.
    face = envelope[:, 86:106, round(24.0 / linear.sample_step_mm) :].max(axis=2)
    assert 20.0 * np.log10(np.median(face)) == pytest.approx(50.6, abs=1.0)


def test_a_wide_shadow_is_as_deep_as_the_material_makes_it(linear: ProbeGeometry) -> None:
    # As above, but wide and 4 mm thick: 27.6 dB + 7.8 dB, for the tissue between the faces and
    # its 4 mm of ordinary attenuation (2.4 dB less).
    scene = plate(plate=BONE, plate_thickness_mm=4.0, attenuation_db_cm_mhz=0.6)
    imager = Imager(scene, linear, QUIET, seed=5)
    part = several_views(imager)[:, 20:-20, round(35.0 / linear.sample_step_mm) :]
    assert 10.0 * np.log10((part**2).mean()) == pytest.approx(-(27.6 + 7.8 - 2.4), abs=1.0)


def test_coherent_echo_falls_with_the_angle(linear: ProbeGeometry) -> None:
    # Amplitude falls as cos^4: at 30 degrees 20 log10(0.866^4) = -5.0 dB, at 45 -12.0 dB.
    level_db = []
    for tilt_deg in (0.0, 30.0, 45.0):
        strong = replace(SOFT_PLATE, reflectivity=0.5, exponent=4.0)
        scene = plate(
            plate=strong,
            plate_tilt_deg=tilt_deg,
            plate_tissue="gel",
            attenuation_db_cm_mhz=0.0,
            backscatter_db=-60.0,
        )
        settings = replace(NO_GAIN, noise_db=-150.0)
        signal = Imager(scene, linear, settings).echoes(np.eye(4))
        # Summed over depth, the blur across beams of a tilted face costs nothing.
        first_face = np.abs(signal[80:112, : round(27.5 / linear.sample_step_mm)]).sum(axis=1)
        level_db.append(20.0 * np.log10(np.median(first_face)))
    assert level_db[1] - level_db[0] == pytest.approx(-5.0, abs=0.5)
    assert level_db[2] - level_db[0] == pytest.approx(-12.0, abs=1.0)


def test_bone_is_seen_again_at_twice_its_depth(linear: ProbeGeometry) -> None:
    scene = plate(plate=BONE, plate_depth_mm=20.0)
    at_40 = slice(round(39.5 / linear.sample_step_mm), round(40.5 / linear.sample_step_mm))
    without = Imager(scene, linear, QUIET).beams_db(np.eye(4))[60:130, at_40].max(axis=1)
    ringing = replace(QUIET, reverberation=0.05)
    with_it = Imager(scene, linear, ringing).beams_db(np.eye(4))[60:130, at_40].max(axis=1)
    assert np.median(with_it) > np.median(without) + 15.0


def test_same_seed_same_bytes_other_seed_other_image(linear: ProbeGeometry) -> None:
    grid = on_grid(Phantom(), 5.0, 2.0)
    T = np.eye(4)
    first = Imager(grid, linear, seed=1).image(T, shot=4)
    assert first.tobytes() == Imager(grid, linear, seed=1).image(T, shot=4).tobytes()
    assert first.tobytes() != Imager(grid, linear, seed=2).image(T, shot=4).tobytes()
    # Another shot of the same tissue differs by its electronic noise alone.
    again = Imager(grid, linear, seed=1).image(T, shot=5)
    assert first.tobytes() != again.tobytes()
    assert np.corrcoef(first.ravel(), again.ravel())[0, 1] > 0.9


def test_speckle_moves_with_the_tissue(uniform: Imager, linear: ProbeGeometry) -> None:
    # Four samples deeper into the tissue, the same speckle is four samples shallower; a
    # slice away in elevation it is another.
    def speckle(T: np.ndarray) -> np.ndarray:
        envelope = np.abs(uniform.echo_signal(T))[20:-20]
        return envelope / np.sqrt((envelope**2).mean(axis=0))

    here = speckle(np.eye(4))
    T = np.eye(4)
    T[1, 3] = 4.0 * linear.sample_step_mm
    deeper = speckle(T)
    assert np.corrcoef(here[:, 104:404].ravel(), deeper[:, 100:400].ravel())[0, 1] > 0.9
    T = np.eye(4)
    T[2, 3] = 4.0
    beside = speckle(T)[:, 100:400]
    assert abs(np.corrcoef(here[:, 100:400].ravel(), beside.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("geometry", SECTORS)
def test_sectors_show_the_plate_where_it_is(geometry: ProbeGeometry) -> None:
    # A plate of 25 mm depth, met by the middle beam at right angles.
    strong = replace(SOFT_PLATE, reflectivity=0.3)
    grid = on_grid(Phantom(plate=strong, half_mm=80.0, depth_mm=90.0), 4.0, 1.0)
    imager = Imager(grid, geometry, QUIET)
    image = imager.image(np.eye(4))
    assert image.shape == geometry.shape and not image[~geometry.fan_mask].any()
    level = imager.beams_db(np.eye(4))[64]
    brightest = 40 + int(np.argmax(level[40:]))
    assert brightest * geometry.sample_step_mm == pytest.approx(25.0, abs=0.3)


def test_label_marks_the_face_of_bone_and_nothing_in_its_shadow(linear: ProbeGeometry) -> None:
    scene = plate(plate=BONE, plate_half_width_mm=8.0)
    label = Imager(scene, linear, replace(QUIET, label_depth_mm=3.0)).label(np.eye(4))
    row_mm = linear.spacing_y_mm
    column = label[:, linear.width_px // 2]
    marked = np.flatnonzero(column) * row_mm
    assert marked.min() == pytest.approx(25.0, abs=0.3)
    assert marked.max() == pytest.approx(28.0, abs=0.3)
    # The plate is 16 mm wide, the image 38.4 mm.
    width_mm = np.flatnonzero(label.any(axis=0)).size * linear.spacing_x_mm
    assert width_mm == pytest.approx(16.0, abs=1.0)


def test_a_probe_of_unknown_frequency_is_refused(linear: ProbeGeometry) -> None:
    grid = on_grid(Phantom(), 5.0, 4.0)
    with pytest.raises(ConfigError, match="centre_frequency_mhz is 0"):
        Imager(grid, replace(linear, centre_frequency_mhz=0.0))
