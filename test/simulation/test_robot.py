import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.geometry.rigid import is_rigid
from us_recon.imaging.probe import ProbeKind
from us_recon.simulation.patients.spine import VirtualSpine
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.robot import SweepSettings, plan_sweep
from us_recon.simulation.scanner.probes import back_probe
from us_recon.simulation.tracker import TrackerSettings, observe, random_rigid, sample_times_s

GEOMETRY = back_probe(ProbeKind.LINEAR).geometry


def test_linear_sweep_takes_length_over_speed_and_stays_in_contact() -> None:
    spine = VirtualSpine()
    sweep = plan_sweep(
        spine, GEOMETRY, SweepSettings(length_mm=60.0, speed_mm_s=12.0, press_mm=0.5)
    )
    assert sweep.duration_s == pytest.approx(5.0)
    poses = sweep.poses(np.linspace(0.0, 5.0, 41))
    assert all(is_rigid(T) for T in poses)
    assert np.ptp(poses[:, 2, 3]) == pytest.approx(60.0, abs=6.0)
    # The face touches somewhere, half a millimetre deep, and nowhere deeper.
    face = np.column_stack([GEOMETRY.beam_origins_mm, np.zeros(GEOMETRY.beam_count)])
    for T in poses:
        deepest = spine.contact_distance_mm(face @ T[:3, :3].T + T[:3, 3]).min()
        assert deepest == pytest.approx(-0.5, abs=0.2)


def test_fan_turns_about_the_contact() -> None:
    settings = SweepSettings(sweep="fan", tilt_deg=20.0, tilt_speed_deg_s=8.0, press_mm=0.0)
    sweep = plan_sweep(Phantom(), GEOMETRY, settings)
    assert sweep.duration_s == pytest.approx(5.0)
    first, last = sweep.poses(np.array([0.0, 5.0]))
    # On a flat phantom the depth axis goes from -20 to +20 degrees in the sweep's plane.
    np.testing.assert_allclose(np.degrees(np.arctan2(first[2, 1], first[1, 1])), -20.0, atol=0.1)
    np.testing.assert_allclose(np.degrees(np.arctan2(last[2, 1], last[1, 1])), 20.0, atol=0.1)
    np.testing.assert_allclose(first[:3, 3], last[:3, 3], atol=1e-6)


def test_raster_runs_its_lanes_to_and_fro() -> None:
    settings = SweepSettings(
        sweep="raster", length_mm=30.0, lanes=2, lane_spacing_mm=10.0, speed_mm_s=10.0
    )
    sweep = plan_sweep(Phantom(), GEOMETRY, settings)
    # Up 30, across 10, down 30 at 10 mm/s.
    assert sweep.duration_s == pytest.approx(7.0)
    corners = sweep.poses(np.array([0.0, 3.0, 4.0, 7.0]))[:, [0, 2], 3]
    np.testing.assert_allclose(corners, [[-5, -15], [-5, 15], [5, 15], [5, -15]], atol=0.6)


def test_a_rocking_slide_tilts_there_and_back() -> None:
    settings = SweepSettings(length_mm=40.0, speed_mm_s=10.0, rock_deg=15.0, rock_length_mm=20.0)
    sweep = plan_sweep(Phantom(), GEOMETRY, settings)
    # At 10 mm/s it takes 2 s over 20 mm: level at 0, 1 and 2 s, tilted most at 0.5 and 1.5 s.
    T = sweep.poses(np.array([0.0, 0.5, 1.0, 1.5, 2.5]))
    tilt_deg = np.degrees(np.arctan2(T[:, 2, 1], T[:, 1, 1]))
    np.testing.assert_allclose(tilt_deg, [0.0, 15.0, 0.0, -15.0, 15.0], atol=0.2)


def test_turned_probe_looks_along_the_sweep() -> None:
    sweep = plan_sweep(Phantom(), GEOMETRY, SweepSettings(length_mm=20.0, turn_deg=90.0))
    T = sweep.poses(np.array([0.5]))[0]
    np.testing.assert_allclose(T[:3, 0], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(T[:3, 1], [0, 1, 0], atol=1e-6)


def test_poses_rest_before_the_start_and_after_the_end() -> None:
    sweep = plan_sweep(Phantom(), GEOMETRY, SweepSettings(length_mm=20.0))
    before, start = sweep.poses(np.array([-1.0, 0.0]))
    np.testing.assert_array_equal(before, start)


def test_a_sweep_beyond_the_patient_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves the scanned part of scene 'spine'"):
        plan_sweep(VirtualSpine(), GEOMETRY, SweepSettings(length_mm=400.0))


def test_noise_of_the_tracker_has_the_asked_size() -> None:
    settings = TrackerSettings(rate_hz=1000.0, noise_mm=0.3, noise_deg=0.2, dropouts_per_s=0.0)
    rng = np.random.default_rng(1)
    times_s = sample_times_s(settings, 10.0, 0.1, rng)
    assert len(times_s) == 10201  # 10.2 s at 1000 Hz and the one at the end
    true = np.tile(random_rigid(50.0, 40.0, rng), (len(times_s), 1, 1))
    stream = observe(settings, times_s, true, 0, rng)
    shift = stream.T_world_probe[:, :3, 3] - true[:, :3, 3]
    np.testing.assert_allclose(shift.std(axis=0), 0.3, rtol=0.05)
    np.testing.assert_allclose(shift.mean(axis=0), 0.0, atol=0.02)
    # A small turn's rotation vector is read off the skew part of the relative rotation.
    relative = np.swapaxes(true[:, :3, :3], 1, 2) @ stream.T_world_probe[:, :3, :3]
    turns = 0.5 * (relative - np.swapaxes(relative, 1, 2))[:, [2, 0, 1], [1, 2, 0]]
    np.testing.assert_allclose(np.degrees(turns.std(axis=0)), 0.2, rtol=0.05)


def test_stamps_jitter_but_increase() -> None:
    settings = TrackerSettings(rate_hz=100.0, jitter_s=0.02, dropouts_per_s=0.0)
    rng = np.random.default_rng(2)
    times_s = sample_times_s(settings, 20.0, 0.1, rng)
    true = np.tile(np.eye(4), (len(times_s), 1, 1))
    stamps = observe(settings, times_s, true, 5_000_000_000, rng).stamps_ns
    assert np.all(np.diff(stamps) > 0)
    assert abs(int(stamps[0]) - 4_900_000_000) < 200_000_000


def test_dropouts_leave_gaps_of_the_asked_length() -> None:
    settings = TrackerSettings(rate_hz=200.0, dropouts_per_s=0.2, dropout_s=0.5)
    times_s = sample_times_s(settings, 60.0, 0.1, np.random.default_rng(3))
    gaps = np.diff(times_s)
    long = gaps[gaps > 0.1]
    # 12 losses are expected; overlapping ones join.
    assert 3 <= len(long) <= 25
    assert long.min() == pytest.approx(0.5, abs=0.02)


def test_late_stamps_are_late_by_the_latency() -> None:
    rng = np.random.default_rng(0)
    settings = TrackerSettings(latency_s=0.05, jitter_s=0.0, noise_mm=0.0, noise_deg=0.0)
    stream = observe(settings, np.array([0.0, 0.01]), np.stack([np.eye(4)] * 2), 10**9, rng)
    assert stream.stamps_ns.tolist() == [1_050_000_000, 1_060_000_000]
