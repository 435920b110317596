"""Pasting pixels into voxels, with volumes small enough to work out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.imaging.compounding import (
    CompoundedVolume,
    CompoundingSettings,
    compound,
    grid_of_frames,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.region import ImageRegion

# Pixels of 1 mm whose first centre lies at the world's origin where the pose is the identity.
GEOMETRY = ProbeGeometry(
    kind=ProbeKind.LINEAR, width_px=2, height_px=2, spacing_x_mm=1.0, spacing_y_mm=1.0,
    origin_x_px=0.0, origin_y_px=0.0, depth_mm=10.0, width_mm=20.0,
)  # fmt: skip
GRID = Grid((0.0, 0.0, 0.0), 1.0, (3, 3, 2))


def frame(image: list[list[int]], x: float = 0.0, y: float = 0.0, z: float = 0.0) -> TrackedFrame:
    T = np.eye(4)
    T[:3, 3] = [x, y, z]
    return TrackedFrame(0, np.array(image, np.uint8), T, GEOMETRY)


def pasted(frames: list[TrackedFrame], **settings: str) -> CompoundedVolume:
    return compound(frames, GRID, CompoundingSettings(**settings))


def test_nearest_puts_a_pixel_into_one_voxel() -> None:
    result = pasted([frame([[10, 20], [30, 40]], x=0.4, y=0.5)], interpolation="nearest")
    # Columns run along x, rows along y; 0.4 rounds to 0 and floor(0.5 + 0.5) = 1.
    expected = np.zeros((3, 3, 2))
    expected[:2, 1:, 0] = [[10, 30], [20, 40]]
    np.testing.assert_array_equal(result.volume.data, expected)
    np.testing.assert_array_equal(result.covered, expected > 0)
    assert result.frame_count == 1 and not result.filled.any()


def test_linear_shares_a_pixel_among_its_neighbours() -> None:
    result = pasted([frame([[100, 0], [0, 0]], x=0.25), frame([[0, 0], [0, 0]], x=0.25)])
    # Voxel (0, 0, 0) gets weight 0.75 of a 100 and of a 0: 50. Voxel (1, 0, 0) gets 0.25 of pixel
    # (0, 0) and 0.75 of pixel (1, 0) from both images: 25 / 2.
    assert result.volume.data[0, 0, 0] == pytest.approx(50.0)
    assert result.volume.data[1, 0, 0] == pytest.approx(12.5)


def test_a_voxel_barely_touched_is_not_covered() -> None:
    # At z = 0.1 the upper layer gets weight 0.1, less than 1/8; at 0.125 exactly 1/8.
    assert not pasted([frame([[9, 9], [9, 9]], z=0.1)]).covered[..., 1].any()
    assert pasted([frame([[9, 9], [9, 9]], z=0.125)]).covered[:2, :2, 1].all()


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("compounding", "expected"), [("mean", 40.0), ("maximum", 70.0), ("latest", 10.0)]
)
def test_what_a_voxel_keeps(interpolation: str, compounding: str, expected: float) -> None:
    frames = [frame([[value, value], [value, value]]) for value in (40, 70, 10)]
    result = pasted(frames, interpolation=interpolation, compounding=compounding)
    np.testing.assert_allclose(result.volume.data[:2, :2, 0], expected)
    assert not result.covered[2].any()


def test_maximum_within_one_image() -> None:
    # Half a voxel apart, several pixels reach voxel (1, 0, 0): the brightest stays.
    dense = replace(GEOMETRY, spacing_x_mm=0.25, width_px=4)
    image = np.array([[10, 90, 20, 30], [0, 0, 0, 0]], np.uint8)
    T = np.eye(4)
    T[0, 3] = 0.6
    settings = CompoundingSettings(interpolation="nearest", compounding="maximum")
    result = compound([TrackedFrame(0, image, T, dense)], GRID, settings)
    assert result.volume.data[1, 0, 0] == 90.0


def test_pixels_outside_the_grid_are_left_out() -> None:
    for interpolation in ("nearest", "linear"):
        result = pasted([frame([[9, 9], [9, 9]], x=-0.5, z=50.0)], interpolation=interpolation)
        assert not result.covered.any()
        half = pasted([frame([[9, 9], [9, 9]], x=-1.0)], interpolation=interpolation)
        assert half.covered[0, :2, 0].all() and not half.covered[1].any()


def test_pixels_outside_the_sector_are_not_measured() -> None:
    narrow = replace(GEOMETRY, width_mm=1.0)  # the face reaches from x = -0.5 to 0.5
    source = replace(frame([[9, 9], [9, 9]]), geometry=narrow)
    assert not pasted([source]).covered[1].any()


def test_a_region_limits_pixels_and_grid() -> None:
    region = ImageRegion(clip_px=(1, 0, 1, 2))
    frames = [frame([[10, 20], [30, 40]])]
    grid = grid_of_frames(frames, 1.0, region)
    assert grid == Grid((1.0, 0.0, 0.0), 1.0, (1, 2, 1))
    result = compound(frames, grid, CompoundingSettings(interpolation="nearest"), region)
    np.testing.assert_array_equal(result.volume.data.ravel(), [20, 40])


def test_the_grid_holds_every_frame() -> None:
    frames = [frame([[1, 1], [1, 1]]), frame([[1, 1], [1, 1]], x=-2.0, z=3.2)]
    # From x = -2 to 1, y = 0 to 1, z = 0 to 3.2 in steps of 0.5; 6.4 steps round to 6.
    grid = grid_of_frames(frames, 0.5)
    assert grid.origin_mm == (-2.0, 0.0, 0.0) and grid.shape == (7, 3, 7)


def test_the_volume_lies_where_its_frames_lie() -> None:
    frames = [frame([[10, 20], [30, 40]], x=5.0, y=-7.0, z=2.0)]
    grid = grid_of_frames(frames, 0.5)
    result = compound(frames, grid, CompoundingSettings(spacing_mm=0.5))
    np.testing.assert_allclose(result.volume.sample(np.array([[6.0, -6.0, 2.0]])), [40.0])


def test_filling_is_marked() -> None:
    grid = Grid((0.0, 0.0, 0.0), 0.5, (3, 3, 1))
    frames = [frame([[10, 30], [10, 30]])]
    result = compound(frames, grid, CompoundingSettings(interpolation="nearest", fill=True))
    assert result.covered.sum() == 4 and result.filled.sum() == 5
    np.testing.assert_allclose(result.volume.data[:, 0, 0], [10, 20, 30])


def test_nothing_to_paste_is_an_error() -> None:
    with pytest.raises(InputError, match="no tracked frame"):
        pasted([])
    with pytest.raises(InputError, match="no tracked frame"):
        grid_of_frames([], 1.0)


def test_a_grid_too_large_is_refused() -> None:
    frames = [frame([[1, 1], [1, 1]]), frame([[1, 1], [1, 1]], x=9e4, y=9e4, z=9e4)]
    with pytest.raises(InputError, match="larger spacing, or check the poses"):
        grid_of_frames(frames, 0.5)
