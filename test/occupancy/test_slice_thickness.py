"""How thick each frame's slab is."""

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.slice_thickness import SliceThickness, elevation_gap_mm

GEOMETRY = ProbeGeometry.linear(30.0, 40.0, 60, 80)
TILTED = from_euler_xyz_deg(np.array([5.0, -7.0, 11.0]), np.array([20.0, -35.0, 50.0]))


def moved(x: float, y: float, z: float, *angles_deg: float) -> np.ndarray:
    """A pose that is displaced in the probe's own axes."""
    angles = np.array(angles_deg or (0.0,) * 3, np.float64)
    return TILTED @ from_euler_xyz_deg(np.array([x, y, z], np.float64), angles)


def frame(T: np.ndarray) -> TrackedFrame:
    return TrackedFrame(0, np.zeros((80, 60), np.uint8), T, GEOMETRY)


def test_only_motion_off_the_plane_counts() -> None:
    assert elevation_gap_mm(TILTED, moved(0.0, 0.0, 1.2), GEOMETRY) == pytest.approx(1.2)
    assert elevation_gap_mm(TILTED, moved(5.0, -3.0, 0.0), GEOMETRY) == pytest.approx(0.0, abs=1e-9)
    assert elevation_gap_mm(TILTED, moved(0, 0, 0, 0, 0, 10), GEOMETRY) == pytest.approx(
        0.0, abs=1e-9
    )


def test_tilt_counts_at_the_lower_end() -> None:
    # 2 degrees about the lateral axis at the face: 40 sin 2 = 1.396 mm at 40 mm of depth.
    gap_mm = elevation_gap_mm(TILTED, moved(0, 0, 0, 2, 0, 0), GEOMETRY)
    assert gap_mm == pytest.approx(40.0 * np.sin(np.radians(2.0)), rel=1e-6)


def test_slab_follows_the_gap_within_its_limits() -> None:
    thickness = SliceThickness(spacing_mm=1.0, most_mm=3.0)
    assert thickness(frame(moved(0, 0, 0))) == 3.0  # nothing before it
    assert thickness(frame(moved(0, 0, 1.2))) == pytest.approx(1.8)  # 1.5 times the gap
    assert thickness(frame(moved(0, 0, 1.3))) == 1.5  # one and a half voxels at least
    assert thickness(frame(moved(0, 0, 1.3))) == 1.5
    assert thickness(frame(moved(0, 0, 16.0))) == 3.0  # a jump is no reason for a thick slab


def test_a_label_speaks_as_far_as_to_the_label_before() -> None:
    thickness = SliceThickness(spacing_mm=1.0, most_mm=3.0)
    assert thickness(frame(moved(0, 0, 0)), labelled=True) == 3.0
    assert thickness(frame(moved(0, 0, 1.0))) == pytest.approx(1.5)
    assert thickness(frame(moved(0, 0, 2.0)), labelled=True) == pytest.approx(2.0)
    assert thickness(frame(moved(0, 0, 3.0))) == pytest.approx(1.5)
    # Its label comes later: the gap to the frame before has not changed by that.
    late = frame(moved(0, 0, 3.0))
    assert thickness(late, labelled=True, again=True) == pytest.approx(1.5)
    assert thickness(frame(moved(0, 0, 4.2))) == pytest.approx(1.8)
    assert thickness(frame(moved(0, 0, 9.0)), labelled=True) == 3.0


def test_limit_below_the_least_is_kept() -> None:
    thickness = SliceThickness(spacing_mm=2.0, most_mm=1.0)
    thickness(frame(TILTED))
    assert thickness(frame(TILTED)) == 1.0
