"""The occupancy mapper as the node and the replay use it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import ConfigError, InputError
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.surface import BeamSurface, SurfaceSource
from us_recon.settings import from_mapping

Images = Callable[..., np.ndarray]
METHODS = pytest.mark.parametrize("method", ["tsdf", "log_odds", "field"])
VOXELS = pytest.mark.parametrize("method", ["tsdf", "log_odds"])


@pytest.fixture(scope="module")
def sweep(linear: ProbeGeometry, bone_image: Images) -> list[TrackedFrame]:
    """Ten frames, 1 mm apart, of bone 20 mm deep in the middle 20 mm, without labels."""
    x = linear.pixels_to_mm(linear.pixel_grid)[0, :, 0]
    depth_mm = np.where(np.abs(x) < 10.0, 20.0, np.nan)
    return [
        TrackedFrame(
            stamp_ns=k,
            image=bone_image(linear, depth_mm, seed=k),
            T_world_transducer=from_euler_xyz_deg(np.array([0.0, 0.0, k]), np.zeros(3)),
            geometry=linear,
        )
        for k in range(10)
    ]


def labelled(frame: TrackedFrame, depth_mm: float) -> TrackedFrame:
    rows_mm = frame.geometry.pixels_to_mm(frame.geometry.pixel_grid)[..., 1]
    return replace(frame, label=(rows_mm > depth_mm).astype(np.uint8))


def mapped(frames: list[TrackedFrame], **settings: object) -> OccupancyMapper:
    mapper = OccupancyMapper(from_mapping(MapperSettings, settings))
    for frame in frames:
        mapper.integrate(frame)
    return mapper


@VOXELS
def test_bone_is_mapped_without_labels(sweep: list[TrackedFrame], method: str) -> None:
    snapshot = mapped(sweep, method=method).snapshot()
    np.testing.assert_allclose(snapshot.mesh.vertices_mm[:, 1], 20.0, atol=0.35)
    # 20 mm wide; 9 mm of sweep and up to 3 mm on either side.
    assert 20 * 9 * 0.9 < snapshot.mesh.area_mm2 < 21 * 15
    assert (snapshot.frames, snapshot.frames_with_surface) == (10, 10)
    assert snapshot.message == ""
    assert not snapshot.full


def test_label_comes_before_detector(sweep: list[TrackedFrame]) -> None:
    frames = [labelled(frame, 15.0) for frame in sweep]
    mapper = OccupancyMapper(MapperSettings(method="tsdf"))
    results = [mapper.integrate(frame) for frame in frames]
    assert {result.source for result in results} == {SurfaceSource.LABEL}
    assert results[0].beams == 80
    np.testing.assert_allclose(mapper.snapshot().mesh.vertices_mm[:, 1], 15.0, atol=0.1)


def test_source_can_be_chosen(sweep: list[TrackedFrame]) -> None:
    mixed = [labelled(sweep[0], 15.0), sweep[1]]
    only_labels = OccupancyMapper(MapperSettings(surfaces="label"))
    assert [only_labels.integrate(frame).source for frame in mixed] == [
        SurfaceSource.LABEL,
        SurfaceSource.NONE,
    ]
    only_images = OccupancyMapper(MapperSettings(surfaces="detector"))
    assert {only_images.integrate(frame).source for frame in mixed} == {SurfaceSource.DETECTOR}


@METHODS
def test_same_frames_same_map(sweep: list[TrackedFrame], method: str) -> None:
    first, second = (mapped(sweep, method=method).snapshot().mesh for _ in range(2))
    np.testing.assert_array_equal(first.vertices_mm, second.vertices_mm)
    np.testing.assert_array_equal(first.triangles, second.triangles)


def test_snapshots_do_not_change_the_map(sweep: list[TrackedFrame]) -> None:
    watched = OccupancyMapper()
    for frame in sweep:
        watched.integrate(frame)
        watched.snapshot()
    np.testing.assert_array_equal(
        watched.snapshot().mesh.vertices_mm, mapped(sweep).snapshot().mesh.vertices_mm
    )


@METHODS
def test_scanning_goes_on_from_a_file(
    sweep: list[TrackedFrame], method: str, tmp_path: Path
) -> None:
    path = tmp_path / "map.npz"
    mapped(sweep[:5], method=method, spacing_mm=0.8).save(path)
    resumed = OccupancyMapper.load(path)
    assert resumed.settings == MapperSettings(method=method, spacing_mm=0.8)
    for frame in sweep[5:]:
        resumed.integrate(frame)
    whole = mapped(sweep, method=method, spacing_mm=0.8).snapshot()
    again = resumed.snapshot()
    np.testing.assert_array_equal(again.mesh.vertices_mm, whole.mesh.vertices_mm)
    assert (again.frames, again.frames_with_surface) == (10, 10)


@METHODS
def test_what_labels_told_goes_on_from_a_file(
    sweep: list[TrackedFrame], method: str, tmp_path: Path
) -> None:
    frames = [labelled(frame, 20.0) if k % 2 == 0 else frame for k, frame in enumerate(sweep)]
    for frame in frames[::2]:
        assert frame.label is not None
        frame.label[:260, 250:] = 0  # 6 mm deeper on a quarter of the bone
    first = mapped(frames[:7], method=method)
    first.save(tmp_path / "map.npz")
    resumed = OccupancyMapper.load(tmp_path / "map.npz")
    for frame in frames[7:]:
        results = [mapper.integrate(frame) for mapper in (first, resumed)]
        shown = [result.surface for result in results]
        trust = [each.trust for each in shown if isinstance(each, BeamSurface)]
        assert trust[0] == trust[1] < 0.5
    meshes = [mapper.snapshot().mesh for mapper in (first, resumed)]
    np.testing.assert_array_equal(meshes[0].vertices_mm, meshes[1].vertices_mm)


@METHODS
def test_a_label_that_contradicts_the_others_is_not_believed(
    sweep: list[TrackedFrame], method: str
) -> None:
    right = [labelled(frame, 20.0) for frame in sweep]
    wrong = [labelled(frame, 14.0) if k in (6, 8) else right[k] for k, frame in enumerate(sweep)]
    mapper = mapped(wrong[:6], method=method)
    results = [mapper.integrate(frame) for frame in wrong[6:]]
    assert [result.source for result in results] == [
        SurfaceSource.DETECTOR, SurfaceSource.LABEL, SurfaceSource.DETECTOR, SurfaceSource.LABEL
    ]  # fmt: skip
    mapper.settle(200)
    middle = np.abs(mapper.snapshot().mesh.vertices_mm[:, 0]) < 8.0
    depth_mm = mapper.snapshot().mesh.vertices_mm[middle, 1]
    assert np.abs(depth_mm - 20.0).max() < 1.0
    believed = mapped(wrong, method=method, surfaces="label")
    assert believed.snapshot().mesh.vertices_mm[:, 1].min() < 18.0


def test_the_map_knows_where_the_probe_was(sweep: list[TrackedFrame], tmp_path: Path) -> None:
    mapper = mapped(sweep[:3])
    other = replace(sweep[3], geometry=replace(sweep[3].geometry, beam_count=60))
    mapper.integrate(other)
    mapper.save(tmp_path / "map.npz")
    views = OccupancyMapper.load(tmp_path / "map.npz").views()
    for view, frame in zip(views, [*sweep[:3], other], strict=True):
        np.testing.assert_array_equal(view.T_world_transducer, frame.T_world_transducer)
        assert view.geometry == frame.geometry
    mapper.reset()
    assert mapper.views() == []


def test_reset_forgets_map_and_calibration(sweep: list[TrackedFrame]) -> None:
    mapper = mapped(sweep[::-1])
    mapper.reset()
    assert mapper.snapshot().mesh.is_empty
    for frame in sweep:
        mapper.integrate(frame)
    np.testing.assert_array_equal(
        mapper.snapshot().mesh.vertices_mm, mapped(sweep).snapshot().mesh.vertices_mm
    )


def test_empty_map_says_why(sweep: list[TrackedFrame], tmp_path: Path) -> None:
    mapper = OccupancyMapper()
    assert mapper.snapshot().message == "no frame yet"
    black = replace(sweep[0], image=np.zeros_like(sweep[0].image))
    mapper.integrate(black)
    snapshot = mapper.snapshot()
    assert snapshot.mesh.is_empty
    assert snapshot.message == "none of 1 frames shows a surface"
    assert snapshot.observed_volume_mm3 == 0.0
    mapper.save(tmp_path / "empty.npz")
    assert OccupancyMapper.load(tmp_path / "empty.npz").snapshot().frames == 1


def test_full_map_says_so(sweep: list[TrackedFrame]) -> None:
    # 1 MiB is 256 blocks; at 0.2 mm the first frame alone needs more.
    snapshot = mapped(sweep[:1], max_memory_mb=1, spacing_mm=0.2).snapshot()
    assert snapshot.full
    assert "max_memory_mb" in snapshot.message


def test_observed_volume_by_hand(sweep: list[TrackedFrame]) -> None:
    # A label 10 mm deep over 40 mm of beams seen by one frame: voxels from the face to 3 mm behind
    # the surface (0 to 13: 14), across (-20 to 20: 40 or 41), and within 3 mm of the plane, where
    # the weight is above 0 (-2 to 2: 5).
    snapshot = mapped([labelled(sweep[0], 10.0)]).snapshot()
    assert 14 * 40 * 5 <= snapshot.observed_volume_mm3 <= 14 * 41 * 5


def test_files_that_are_no_maps(sweep: list[TrackedFrame], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        OccupancyMapper.load(tmp_path / "absent.npz")
    text = tmp_path / "text.npz"
    text.write_text("hello")
    with pytest.raises(InputError, match="not an occupancy map; the mapper writes one"):
        OccupancyMapper.load(text)
    other = tmp_path / "other.npz"
    np.savez(other, values=np.zeros(3))
    with pytest.raises(InputError, match="not an occupancy map"):
        OccupancyMapper.load(other)
    newer = tmp_path / "newer.npz"
    mapped(sweep[:1]).save(newer)
    with np.load(newer) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    arrays["header"] = np.array(json.dumps({**header, "version": 99}))
    np.savez(newer, **arrays)
    with pytest.raises(InputError, match="version 99"):
        OccupancyMapper.load(newer)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="method"):
        from_mapping(MapperSettings, {"method": "octree"})
    with pytest.raises(ConfigError, match="spacing_mm"):
        from_mapping(MapperSettings, {"spacing_mm": 0.0})
    # Also those that nobody read from a file.
    with pytest.raises(ConfigError, match="detector is 'rule'; expected one of ridge"):
        OccupancyMapper(MapperSettings(detector="rule"))
