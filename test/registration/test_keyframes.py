"""Which frames are registered together."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.registration.keyframes import KeyframeWindow, image_distance_mm

LINEAR = ProbeGeometry.linear(width_mm=20.0, depth_mm=30.0, width_px=20, height_px=30)
IMAGE = np.zeros((30, 20), dtype=np.uint8)


def at(z_mm: float, stamp_ns: int = 0) -> TrackedFrame:
    T = np.eye(4)
    T[2, 3] = z_mm
    return TrackedFrame(stamp_ns, IMAGE, T, LINEAR)


def kept(window: KeyframeWindow) -> list[float]:
    return [float(frame.T_world_transducer[2, 3]) for frame in window.frames]


def test_a_shift_moves_all_corners_alike() -> None:
    assert image_distance_mm(at(0.0), at(2.5)) == pytest.approx(2.5)


def test_a_slow_sweep_is_thinned() -> None:
    window = KeyframeWindow(capacity=10, distance_mm=2.0, outdated_after=100)
    taken = [window.add(at(0.5 * n)) for n in range(9)]
    assert taken == [True, False, False, False, True, False, False, False, True]
    assert kept(window) == [0.0, 2.0, 4.0]


def test_a_full_window_stays_wide() -> None:
    # 0, 2, 4 and 10 are there; 16 comes. Distances to the two nearest: 2 + 4, 2 + 2, 2 + 4, 6 + 6:
    # 2 goes. Then 22 comes. 4 + 10, 4 + 6, 6 + 6, 6 + 6: 4 goes.
    window = KeyframeWindow(capacity=4, distance_mm=1.0, outdated_after=100)
    for z in (0.0, 2.0, 4.0, 10.0, 16.0):
        window.add(at(z))
    assert kept(window) == [0.0, 4.0, 10.0, 16.0]
    window.add(at(22.0))
    assert kept(window) == [0.0, 10.0, 16.0, 22.0]


def test_a_long_sweep_keeps_both_ends() -> None:
    window = KeyframeWindow(capacity=5, distance_mm=1.0, outdated_after=1000)
    for n in range(40):
        window.add(at(2.0 * n))
    positions = kept(window)
    assert positions[0] == 0.0 and positions[-1] == 78.0
    assert max(np.diff(positions)) <= 40.0


def test_outdated_frames_are_replaced() -> None:
    window = KeyframeWindow(capacity=4, distance_mm=1.0, outdated_after=3)
    assert window.add(at(0.0, stamp_ns=0))
    assert [window.add(at(0.1, stamp_ns=n)) for n in (1, 2, 3, 4)] == [False, False, False, True]
    assert [frame.stamp_ns for frame in window.frames] == [4]


def test_another_probe_starts_anew() -> None:
    window = KeyframeWindow(capacity=4, distance_mm=1.0, outdated_after=100)
    window.add(at(0.0))
    window.add(at(5.0))
    other = replace(at(9.0), geometry=replace(LINEAR, depth_mm=29.0))
    assert window.add(other)
    assert window.frames == [other]
