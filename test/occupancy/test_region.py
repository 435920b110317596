"""Organs and lesions: their labels tell inside, wall and outside in all directions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.field.scanlines import LineGeometry, scanlines
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh_queries import SurfaceQuery
from us_recon.occupancy.region import labelled_region
from us_recon.occupancy.surface import SurfaceSource
from us_recon.settings import from_mapping

CENTRE_MM, RADIUS_MM = np.array([2.0, 20.0, 0.0]), 8.0
TWIN_MM = CENTRE_MM + np.array([-13.0, 8.0, 0.0])  # of another one that no label marks
TISSUE, DARK = 110, 8
CONVEX = ProbeGeometry.sector(
    ProbeKind.CONVEX, 40.0, 60.0, 60.0, 300, beam_count=96, sample_count=400
)


def grid_mm(geometry: ProbeGeometry) -> np.ndarray:
    return geometry.pixels_to_mm(geometry.pixel_grid)


def ball_label(geometry: ProbeGeometry, z_mm: float = 0.0, value: int = 255) -> np.ndarray:
    """Return the mask of a ball cut at z."""
    off = grid_mm(geometry) - CENTRE_MM[:2]
    inside = (off**2).sum(axis=-1) + z_mm**2 < RADIUS_MM**2
    return np.where(inside & geometry.fan_mask, value, 0).astype(np.uint8)


def tissue(geometry: ProbeGeometry, deepest_mm: float = np.inf) -> np.ndarray:
    """Return an image of even tissue that is dark from a depth on."""
    speckle = np.random.default_rng(1).normal(0.0, 12.0, geometry.shape)
    bright = grid_mm(geometry)[..., 1] < deepest_mm
    return np.clip(np.where(bright, TISSUE + speckle, DARK), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sweep() -> Callable[..., list[TrackedFrame]]:
    """Return slices of the ball 1 mm apart, every so many of them with a label."""
    geometry = ProbeGeometry.linear(40.0, 40.0, 160, 160, beam_count=80, sample_count=200)

    def make(every: int = 1, value: int = 255) -> list[TrackedFrame]:
        frames = []
        for number, z_mm in enumerate(np.arange(-12.0, 12.5)):
            T = np.eye(4)
            T[2, 3] = z_mm
            label = ball_label(geometry, z_mm, value) if number % every == 0 else None
            frames.append(TrackedFrame(number, tissue(geometry), T, geometry, label))
        return frames

    return make


def mapped(frames: Sequence[TrackedFrame], **settings: object) -> OccupancyMapper:
    mapper = OccupancyMapper(from_mapping(MapperSettings, {"target": "organ", **settings}))
    for frame in frames:
        mapper.integrate(frame)
    return mapper


def wall_errors_mm(mapper: OccupancyMapper) -> np.ndarray:
    vertices = mapper.snapshot().mesh.vertices_mm
    return np.linalg.norm(vertices - CENTRE_MM, axis=1) - RADIUS_MM


@pytest.mark.parametrize("kind", ["linear", "convex"])
def test_distances_are_those_to_the_circle(kind: str, linear: ProbeGeometry) -> None:
    geometry = linear if kind == "linear" else CONVEX
    region = labelled_region(ball_label(geometry), tissue(geometry), geometry)
    true_mm = np.linalg.norm(grid_mm(geometry) - CENTRE_MM[:2], axis=-1) - RADIUS_MM
    near = geometry.fan_mask & (np.abs(true_mm) < 6.0)
    assert np.abs(region.outside_mm - true_mm)[near].max() < 0.75 * geometry.spacing_x_mm
    assert region.known[geometry.fan_mask].mean() > 0.95
    assert not region.known[~geometry.fan_mask].any()


def test_the_wall_is_found_all_around(linear: ProbeGeometry) -> None:
    region = labelled_region(ball_label(linear), tissue(linear), linear)
    T = np.eye(4)
    T[:3, 3] = [5.0, -3.0, 7.0]
    points = region.points_mm(T) - T[:3, 3] - CENTRE_MM
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), RADIUS_MM, atol=0.15)
    angles = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    assert np.histogram(angles, bins=12, range=(-180, 180))[0].min() > 0
    assert region.found.sum() == pytest.approx(2 * RADIUS_MM / 0.5, abs=2)


def test_what_no_sound_came_back_from_is_not_called_empty(linear: ProbeGeometry) -> None:
    region = labelled_region(ball_label(linear), tissue(linear, deepest_mm=22.0), linear)
    depth_mm = grid_mm(linear)[..., 1]
    assert region.known[depth_mm < 21.0].all()
    inside = ball_label(linear) > 0
    assert region.known[inside].all()  # whoever drew a label knew
    assert not region.known[~inside & (depth_mm > 27.0)].any()


def test_an_image_without_the_target_is_empty_all_over(linear: ProbeGeometry) -> None:
    label = np.zeros(linear.shape, np.uint8)
    region = labelled_region(label, tissue(linear), linear)
    assert not region.found.any() and len(region.points_mm(np.eye(4))) == 0
    assert region.outside_mm.min() > 40.0


@pytest.mark.parametrize(
    ("method", "largest_mm"), [("tsdf", 0.6), ("log_odds", 0.6), ("field", 1.2)]
)
def test_the_whole_wall_is_mapped(
    method: str, largest_mm: float, sweep: Callable[..., list[TrackedFrame]]
) -> None:
    mapper = mapped(sweep(), method=method, steps_per_frame=16)
    errors_mm = wall_errors_mm(mapper)
    assert abs(np.median(errors_mm)) < 0.1 and np.abs(errors_mm).max() < largest_mm
    # Closed: as seen from its centre there is a wall in every direction.
    rays = np.random.default_rng(0).normal(size=(500, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    query = SurfaceQuery(mapper.snapshot().mesh)
    hits_mm = query.first_hits_mm(np.tile(CENTRE_MM, (500, 1)), rays)
    np.testing.assert_allclose(hits_mm, RADIUS_MM, atol=largest_mm + 0.1)


def test_bone_shows_the_near_face_alone(sweep: Callable[..., list[TrackedFrame]]) -> None:
    mapper = mapped(sweep(), target="bone", surfaces="label")
    below = mapper.snapshot().mesh.vertices_mm[:, 1] > CENTRE_MM[1] + 0.5 * RADIUS_MM
    assert not below.any()


@pytest.mark.parametrize("method", ["tsdf", "log_odds"])
def test_labels_apart_speak_for_what_lies_between(
    method: str, sweep: Callable[..., list[TrackedFrame]]
) -> None:
    mapper = mapped(sweep(every=4), method=method)
    errors_mm = wall_errors_mm(mapper)
    assert np.median(np.abs(errors_mm)) < 0.5
    rays = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1.0, 0.7]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    query = SurfaceQuery(mapper.snapshot().mesh)
    assert np.isfinite(query.first_hits_mm(np.tile(CENTRE_MM, (500, 1)), rays)).mean() > 0.97


def lesion(frames: Sequence[TrackedFrame], every: int) -> list[TrackedFrame]:
    """Return the ball as a bright lesion, and beside it another one that no label marks."""
    shown = []
    for number, frame in enumerate(frames):
        z_mm = float(frame.T_world_transducer[2, 3])
        image = frame.image.astype(np.float32)
        for centre_mm in (CENTRE_MM, TWIN_MM):
            radius_mm = RADIUS_MM if centre_mm is CENTRE_MM else 4.0
            off = grid_mm(frame.geometry) - centre_mm[:2]
            image = np.where((off**2).sum(axis=-1) + z_mm**2 < radius_mm**2, 1.7 * image, image)
        label = ball_label(frame.geometry, z_mm) if number % every == 0 else None
        grey = np.clip(image, 0, 255).astype(np.uint8)
        shown.append(replace(frame, image=grey, label=label))
    return shown


@pytest.mark.parametrize("label_loss", ["balanced", "transmitted"])
def test_a_field_fills_in_what_images_show_between_labels(
    label_loss: str, sweep: Callable[..., list[TrackedFrame]]
) -> None:
    frames = lesion(sweep(), every=8)
    by_field = mapped(frames, method="field", label_loss=label_loss, steps_per_frame=16)
    by_voxels = mapped(frames, method="tsdf")
    assert np.percentile(np.abs(wall_errors_mm(by_field)), 90) < 0.6
    # Labels 8 mm apart leave gaps between voxels, none in the field.
    rays = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1.0, 0.5]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    hits = [
        np.isfinite(
            SurfaceQuery(m.snapshot().mesh).first_hits_mm(np.tile(CENTRE_MM, (500, 1)), rays)
        ).mean()
        for m in (by_field, by_voxels)
    ]
    assert hits[0] > 0.97 > hits[1]
    # What merely looks like it, and no label touches, is not shown.
    apart_mm = np.linalg.norm(by_field.snapshot().mesh.vertices_mm - TWIN_MM, axis=1)
    assert apart_mm.min() > 5.0


def test_a_field_without_any_label_shows_nothing(
    sweep: Callable[..., list[TrackedFrame]],
) -> None:
    frames = [replace(frame, label=None) for frame in lesion(sweep(), every=1)]
    mapper = mapped(frames, method="field")
    assert mapper.snapshot().mesh.is_empty
    assert "has a label that shows the organ" in mapper.snapshot().message


def test_frames_without_a_label_change_no_voxel(sweep: Callable[..., list[TrackedFrame]]) -> None:
    frames = sweep(every=4)
    labelled = [frame for frame in frames if frame.label is not None]
    alone, among = mapped(labelled, method="tsdf"), mapped(frames, method="tsdf")
    np.testing.assert_array_equal(
        alone.snapshot().mesh.vertices_mm, among.snapshot().mesh.vertices_mm
    )
    assert among.snapshot().frames == len(frames)
    result = among.integrate(replace(labelled[0], label=None))
    assert result.source is SurfaceSource.NONE and result.voxels == 0


def test_labels_may_all_come_late(sweep: Callable[..., list[TrackedFrame]]) -> None:
    frames = sweep(every=3)
    late: list[TrackedFrame] = []
    for frame in frames:
        late.append(replace(frame, label=None))
        late += [replace(frame, late=True)] if frame.label is not None else []
    in_time, after = mapped(frames, method="tsdf"), mapped(late, method="tsdf")
    np.testing.assert_array_equal(
        in_time.snapshot().mesh.vertices_mm, after.snapshot().mesh.vertices_mm
    )
    assert after.snapshot().frames == len(frames) == len(after.views())
    assert after.snapshot().frames_with_surface == in_time.snapshot().frames_with_surface


@pytest.mark.parametrize("settings", [{"target": "bone", "method": "tsdf"}, {"target": "bone"}, {}])
def test_a_late_label_does_not_move_the_sweep_back(
    settings: dict[str, str], sweep: Callable[..., list[TrackedFrame]]
) -> None:
    frames = sweep()[8:13]
    mapper = mapped([replace(frame, label=None) for frame in frames], **settings)
    mapper.integrate(replace(frames[1], late=True))
    # The next slab is measured from the newest frame, and not from the one whose label came.
    np.testing.assert_array_equal(mapper._slices.T_last, frames[-1].T_world_transducer)
    assert mapper.frames == 5


def test_a_field_is_told_nothing_where_no_sound_came_back_from(linear: ProbeGeometry) -> None:
    image = tissue(linear, deepest_mm=22.0)
    region = labelled_region(ball_label(linear), image, linear)
    lines = LineGeometry.of(linear)
    prepared, _ = scanlines(TrackedFrame(0, image, np.eye(4), linear), region, lines, None)
    assert prepared.outside_mm is not None and prepared.labelled
    beam = lines.geometry.beam_count // 2 + round(CENTRE_MM[0] * lines.geometry.beam_count / 40.0)
    depths_mm = lines.depths_mm
    told = np.isfinite(prepared.outside_mm[beam])
    assert told[depths_mm < 27.5].all() and not told[depths_mm > 29.5].any()
    aside = np.isfinite(prepared.outside_mm[5])  # beside the ball, 18 mm away
    assert aside[depths_mm < 21.0].all() and not aside[depths_mm > 26.0].any()
    # Whoever drew the label has seen down to the far wall, at 28 mm.
    assert prepared.depth_mm[beam] == pytest.approx(28.0, abs=0.6)
    assert np.isnan(prepared.depth_mm[5])


def test_only_the_value_asked_for_is_the_target(sweep: Callable[..., list[TrackedFrame]]) -> None:
    frames = sweep(value=2)
    assert wall_errors_mm(mapped(frames, label_value=2)).size > 0
    assert mapped(frames, label_value=3).snapshot().mesh.is_empty
    bone = mapped(frames, label_value=3, target="bone", surfaces="label")
    assert bone.snapshot().mesh.is_empty


@pytest.mark.parametrize("method", ["tsdf", "field"])
def test_a_saved_map_goes_on(
    method: str, sweep: Callable[..., list[TrackedFrame]], tmp_path: Path
) -> None:
    frames = sweep()
    first = mapped(frames[:12], method=method)
    first.save(tmp_path / "map.npz")
    again = OccupancyMapper.load(tmp_path / "map.npz")
    for frame in frames[12:]:
        again.integrate(frame)
    np.testing.assert_array_equal(
        again.snapshot().mesh.vertices_mm, mapped(frames, method=method).snapshot().mesh.vertices_mm
    )


def test_the_detector_which_knows_bone_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected surfaces auto or label"):
        mapped([], surfaces="detector")


def test_a_label_of_another_size_is_refused(linear: ProbeGeometry) -> None:
    with pytest.raises(InputError, match="label is"):
        labelled_region(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), linear)
