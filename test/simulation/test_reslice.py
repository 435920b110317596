"""Frames cut out of a volume."""

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.rigid import make_rigid
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.simulation.reslice import reslice, sweep

# 20 mm wide and deep, 1 mm pixels: column c at x = c - 9.5, row r at y = r + 0.5.
PROBE = ProbeGeometry.linear(width_mm=20.0, depth_mm=20.0, width_px=20, height_px=20)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = -20.0


def ramp() -> Volume:
    """Brightness 100 + x + 2 y in mm, 2 mm voxels from -20 to 20 mm."""
    i, j, _ = np.mgrid[:21, :21, :21]
    values = 100.0 + (2.0 * i - 20.0) + 2.0 * (2.0 * j - 20.0)
    return Volume(values.astype(np.float32), AFFINE)


def test_a_frame_shows_what_lies_in_its_plane() -> None:
    # Moved by 3 mm along x: column c at x = c - 6.5, so 100 + (c - 6.5) + 2 (r + 0.5).
    T = make_rigid(np.eye(3), np.array([3.0, 0.0, 5.0]))
    frame = reslice(ramp(), PROBE, T, stamp_ns=7)
    row, column = 4, 6
    assert frame.image[row, column] == pytest.approx(100.0 - 0.5 + 9.0, abs=0.51)
    assert frame.stamp_ns == 7
    np.testing.assert_array_equal(frame.T_world_transducer, T)


def test_a_turned_probe_sees_the_other_axis() -> None:
    # x to y, y to -x: column c, row r at (-(r + 0.5), c - 9.5, 0).
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    frame = reslice(ramp(), PROBE, make_rigid(turn, np.zeros(3)), 0)
    assert frame.image[3, 12] == pytest.approx(100.0 - 3.5 + 2.0 * 2.5, abs=0.51)


def test_what_was_not_scanned_is_black() -> None:
    volume = ramp()
    data = volume.data.copy()
    data[:10] = 0.0  # x below 0 mm; between -2 and 0 mm the interpolation would mix
    frame = reslice(Volume(data, AFFINE), PROBE, np.eye(4), 0)
    assert not frame.image[:, :10].any() and frame.image[:, 10:].all()
    far = make_rigid(np.eye(3), np.array([300.0, 0.0, 0.0]))
    assert not reslice(volume, PROBE, far, 0).image.any()


def test_a_sweep_moves_evenly() -> None:
    last = make_rigid(np.eye(3), np.array([0.0, 0.0, 8.0]))
    frames = list(sweep(ramp(), PROBE, np.eye(4), last, count=5, period_ns=10))
    assert [frame.T_world_transducer[2, 3] for frame in frames] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert [frame.stamp_ns for frame in frames] == [0, 10, 20, 30, 40]
    with pytest.raises(InputError, match="2 frames"):
        list(sweep(ramp(), PROBE, np.eye(4), last, count=1))
