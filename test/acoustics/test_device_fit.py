"""Devices are recovered from images that the renderer made with other settings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from us_recon.acoustics.device_bounds import within_bounds
from us_recon.acoustics.device_fit import fit_device
from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.fit_settings import DeviceFitSettings
from us_recon.acoustics.level_fit import slider_basis
from us_recon.acoustics.measured_levels import cells_of, mean_level_db, measured_beams
from us_recon.acoustics.resolution_fit import (
    band_depths_mm,
    beam_width_mm,
    focused,
    with_resolution,
)
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.geometry.rigid import from_euler_xyz_deg, make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

T_WORLD_VOLUME = from_euler_xyz_deg(np.array([100.0, 20.0, 5.0]), np.array([10.0, 20.0, 30.0]))
PROBE = ProbeGeometry.sector(
    ProbeKind.CONVEX, 20.0, 50.0, 40.0, 300, beam_count=96, sample_count=320,
    centre_frequency_mhz=6.0,
)  # fmt: skip
TRUE = RenderSettings(
    speckle=True,
    seed=5,
    gain_db=31.0,
    dynamic_range_db=60.0,
    compensation_db_cm_mhz=0.0,
    tgc_db_cm=7.0,
    tgc_sliders_db=(0.0, 2.0, -2.0, 1.0, 3.0, -1.0, -3.0, 0.0),
    attenuation_scale=1.25,
    edge_db=6.0,
    pulse_mm=0.7,
    beam_mm=1.0,
    focus_mm=22.0,
    spread_mm=15.0,
)


@pytest.fixture(scope="module")
def tissue() -> AcousticVolume:
    """Smooth random tissue, 40 x 50 x 40 mm, with an interface across the beams."""
    shape, rng = (80, 100, 80), np.random.default_rng(0)
    a, b, c = (np.tanh(40.0 * gaussian_filter(rng.standard_normal(shape), 5.0)) for _ in range(3))
    depth_mm = 0.5 * np.arange(shape[1])[:, None] - 3.0
    fields = (
        1.6 + 0.004 * a + 0.02 * (depth_mm > 18.0), 0.6 + 0.5 * b, np.exp(0.5 * c), np.ones(shape)
    )  # fmt: skip
    T = make_rigid(np.eye(3), np.array([-20.0, -3.0, -20.0])) @ np.diag([0.5, 0.5, 0.5, 1.0])
    return AcousticVolume(*(torch.from_numpy(each).float() for each in fields), T)


@pytest.fixture(scope="module")
def recording(tissue: AcousticVolume) -> list[TrackedFrame]:
    """Six frames that slide and tilt."""
    frames = []
    for k in range(6):
        T = from_euler_xyz_deg(np.array([0.0, 0.0, 3.0 * k - 8.0]), np.array([2.0 * k - 6.0, 0, 0]))
        image = expected_image(tissue, T, PROBE, TRUE).image
        frames.append(TrackedFrame(k, image, T_WORLD_VOLUME @ T, PROBE))
    return frames


def time_gain_db(settings: RenderSettings, depth_cm: np.ndarray) -> np.ndarray:
    """Return gain and time gain at depths."""
    at = np.linspace(0.0, PROBE.depth_mm / 10.0, len(settings.tgc_sliders_db))
    sliders = np.interp(depth_cm, at, settings.tgc_sliders_db)
    slope = settings.tgc_db_cm + 2.0 * 6.0 * settings.compensation_db_cm_mhz  # at the probe's 6 MHz
    return settings.gain_db + slope * depth_cm + sliders


def test_a_device_is_recovered_from_its_speckled_images(
    tissue: AcousticVolume, recording: list[TrackedFrame]
) -> None:
    start = RenderSettings(gain_db=15.0, dynamic_range_db=60.0)  # the range is not fitted
    found = fit_device(recording, tissue, T_WORLD_VOLUME, start)
    fitted, depth_cm = found.settings, np.linspace(0.2, 4.0, 39)
    assert np.abs(time_gain_db(fitted, depth_cm) - time_gain_db(TRUE, depth_cm)).max() < 1.0
    assert fitted.attenuation_scale == pytest.approx(TRUE.attenuation_scale, rel=0.1)
    assert fitted.edge_db == pytest.approx(TRUE.edge_db, abs=3.0)
    assert fitted.pulse_mm == pytest.approx(TRUE.pulse_mm, rel=0.15)
    bands_mm = band_depths_mm(PROBE)
    widths = beam_width_mm(fitted, bands_mm) / beam_width_mm(TRUE, bands_mm)
    np.testing.assert_allclose(widths, 1.0, atol=0.15)
    assert found.resolution_found
    assert found.before.difference > 0.1 and found.after.difference < 0.03
    assert found.after.correlation > found.before.correlation > 0.5


def test_what_shows_nothing_of_the_volume_is_refused(
    tissue: AcousticVolume, recording: list[TrackedFrame]
) -> None:
    away = make_rigid(np.eye(3), np.array([500.0, 0.0, 0.0]))
    with pytest.raises(InputError, match=r"0 cells of .* show echoes inside"):
        fit_device(recording, tissue, away @ T_WORLD_VOLUME)
    dark = [replace(frame, image=np.zeros_like(frame.image)) for frame in recording]
    with pytest.raises(InputError, match="0 cells"):
        fit_device(dark, tissue, T_WORLD_VOLUME)
    other = replace(recording[0], geometry=replace(PROBE, depth_mm=39.0))
    with pytest.raises(InputError, match="all of one geometry"):
        fit_device([recording[1], other], tissue, T_WORLD_VOLUME)
    with pytest.raises(InputError, match="0 frames"):
        fit_device([], tissue, T_WORLD_VOLUME)


def test_shadow_and_lifted_beams_are_left_out(recording: list[TrackedFrame]) -> None:
    # Black from half depth on over the left half of the image: nothing of it counts.
    image = recording[0].image.copy()
    image[150:, :150] = 0
    _, valid = measured_beams([replace(recording[0], image=image)], near_field_mm=2.0)
    left, right = valid[0, :40], valid[0, 56:-4]  # without the image's rim
    assert not left[:, 260:].any() and right[:, 20:300].mean() > 0.95
    assert not valid[:, :, PROBE.sample_depths_mm < 2.0].any()


def test_the_mean_of_a_cell_is_that_of_power() -> None:
    # 0 dB and -10 dB: (1 + 0.1) / 2 = 0.55, which is -2.596 dB; the masked sample counts nothing.
    level = torch.tensor([[[0.0, -10.0, 40.0]]], dtype=torch.float64)
    valid = torch.tensor([[[1.0, 1.0, 0.0]]], dtype=torch.float64)
    cells = replace(cells_of(PROBE, 2.5), beams=1, samples=3)
    assert float(mean_level_db(level, valid, cells)) == pytest.approx(-2.596, abs=1e-3)


def test_focus_comes_from_a_parabola_of_squared_widths() -> None:
    settings = RenderSettings(beam_mm=1.3, focus_mm=25.0, spread_mm=12.0)
    depths = np.linspace(3.0, 50.0, 6)
    found = focused(depths, beam_width_mm(settings, depths), RenderSettings())
    assert found == pytest.approx({"beam_mm": 1.3, "focus_mm": 25.0, "spread_mm": 12.0})
    # Widths that narrow to both sides have no focus: the width alone is scaled, here doubled.
    bent = 2.0 * beam_width_mm(RenderSettings(), np.array([10.0, 30.0]))
    kept = focused(np.array([10.0, 30.0]), bent, RenderSettings())
    assert kept == pytest.approx({"beam_mm": 2.0 * RenderSettings().beam_mm})


def test_structure_wider_than_speckle_tells_no_resolution() -> None:
    # Noise blurred to some 3 mm along and 8 mm across: 10 wavelengths of 0.26 mm at 6 MHz and more.
    shape, rng = (4, PROBE.beam_count, PROBE.sample_count), np.random.default_rng(2)
    field = gaussian_filter(rng.standard_normal((2, *shape)), (0, 0, 8.0, 10.0))
    level_db = 10.0 * np.log10((field**2).sum(axis=0) / (field**2).sum(axis=0).mean())
    images = np.clip(0.6 + level_db / 60.0, 0.01, 0.99).astype(np.float32)
    assert (
        with_resolution(images, np.ones(shape, bool), PROBE, RenderSettings()) == RenderSettings()
    )


def test_sliders_are_neither_gain_nor_slope() -> None:
    basis = slider_basis(8).numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(basis @ np.ones(8), 0.0, atol=1e-12)
    np.testing.assert_allclose(basis @ np.arange(8.0), 0.0, atol=1e-12)


def test_fitted_numbers_stay_in_range() -> None:
    wild = RenderSettings(gain_db=500.0, attenuation_scale=-1.0, beam_mm=1.0)
    held = within_bounds(wild)
    assert (held.gain_db, held.attenuation_scale, held.beam_mm) == (200.0, 0.0, 1.0)


def test_parts_that_are_not_to_be_fitted_stay(
    tissue: AcousticVolume, recording: list[TrackedFrame]
) -> None:
    fit = DeviceFitSettings(fit_resolution=False, fit_attenuation=False, max_frames=2, iterations=3)
    found = fit_device(recording, tissue, T_WORLD_VOLUME, fit=fit)
    assert found.frames == 2 and not found.resolution_found
    assert found.settings.pulse_mm == RenderSettings().pulse_mm
    assert found.settings.attenuation_scale == pytest.approx(1.0, abs=1e-4)
    assert found.settings.gain_db != RenderSettings().gain_db
    assert fit_device(recording, tissue, T_WORLD_VOLUME, fit=fit) == found  # bit for bit
