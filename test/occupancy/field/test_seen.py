"""What beams count at the vertices that they reach, and what of a surface they can have seen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.replay import BeamPicks, Replay
from us_recon.occupancy.field.seen import SeenVoxels
from us_recon.occupancy.field.settings import FieldSettings
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import vertex_normals
from us_recon.occupancy.voxels import LogOddsMap

Started = Callable[..., tuple[FieldFit, Replay]]


def all_beams(replay: Replay) -> tuple[np.ndarray, np.ndarray]:
    frame, beam = np.nonzero(replay["contact"])
    return frame, beam


def seen_down_to(samples: int, fit: FieldFit, replay: Replay) -> SeenVoxels:
    """Let all beams see so many samples."""
    seen = new(fit)
    seen.grow()
    move(seen, replay, replay.beams(*all_beams(replay)), 0, samples)
    return seen


def new(fit: FieldFit) -> SeenVoxels:
    return SeenVoxels(fit.lattices[-1], fit.lattices[-2], min_depth_mm=4.0)


def move(seen: SeenVoxels, replay: Replay, picks: BeamPicks, before: int, now: int) -> None:
    reach = [np.full(len(picks.frame), samples, np.int16) for samples in (before, now)]
    seen._move(seen.counts, replay, picks, *reach)
    seen._turn(replay, picks, *reach)


def test_the_mean_direction_is_that_of_the_beams(started: Started) -> None:
    fit, replay = started()
    seen = seen_down_to(40, fit, replay)
    points = np.array([[0.0, 8.0, 1.0], [5.0, 10.0, 2.0]], np.float32)
    np.testing.assert_allclose(seen.directions(points), [[0, 1, 0]] * 2, atol=0.02)
    nowhere = np.array([[0.0, -30.0, 1.0], [1e4, 0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(seen.directions(nowhere), np.zeros((2, 3)))


def test_beams_that_cross_have_a_shorter_mean(started: Started) -> None:
    fit, replay = started()
    seen = seen_down_to(40, fit, replay)
    picks = replay.beams(*all_beams(replay))
    aside = [1, 0, 2]
    turned = replace(
        picks,
        origin_mm=np.ascontiguousarray(picks.origin_mm[:, aside]),
        direction=np.ascontiguousarray(picks.direction[:, aside]),
    )
    move(seen, replay, turned, 0, 40)
    mean = seen.directions(np.array([[6.0, 7.0, 1.0]], np.float32))[0]
    assert 0.7 < np.linalg.norm(mean) < 1.0
    assert mean[0] > 0.1 and mean[1] > 0.1


def test_a_beam_takes_all_of_its_share_back(started: Started) -> None:
    fit, replay = started()
    seen = seen_down_to(40, fit, replay)
    assert seen.counts.any(axis=1).all()
    assert seen.beams[[0, 2]].any(axis=1).all()  # beams along the y axis
    move(seen, replay, replay.beams(*all_beams(replay)), 40, 0)
    assert not seen.counts.any() and not seen.beams.any()


def test_directions_of_an_older_file_are_told_by_its_frames(started: Started) -> None:
    fit, replay = started()
    replay["reach"][:] = np.where(replay["contact"], 40, 0)
    made = seen_down_to(40, fit, replay)
    older, newer, no_frames = new(fit), new(fit), new(fit)
    older.restore(made.counts, None, replay)
    newer.restore(made.counts, made.beams, replay)
    no_frames.restore(made.counts, None, None)
    for restored in (older, newer):
        np.testing.assert_array_equal(restored.counts, made.counts)
        np.testing.assert_array_equal(restored.beams, made.beams)
    np.testing.assert_array_equal(no_frames.counts, made.counts)
    assert not no_frames.beams.any()


@pytest.fixture(scope="module")
def plate(bone_sweep: list[TrackedFrame]) -> FieldMap:
    """A field of the bone with its labels, which reach 3 mm behind the face."""
    made = FieldMap(FieldSettings(), LogOddsMap(BlockGrid(1.0, 10_000)), min_depth_mm=4.0)
    for frame in bone_sweep:
        surface = None if frame.label is None else label_surface(frame.label, frame.geometry)
        made.integrate(frame, surface, 1.5)
        made.step(10)
    return made


def turned_away(made: FieldMap, mesh: Mesh) -> np.ndarray:
    beams = made.seen.directions(mesh.vertices_mm)
    return (beams * vertex_normals(mesh)).sum(axis=1) > 0


def test_what_is_turned_away_from_all_beams_is_not_shown(
    plate: FieldMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = plate.extract_mesh()
    assert turned_away(plate, shown).mean() < 0.1  # the last vertex of a triangle at the edge
    faces = vertex_normals(shown)[:, 1] < -0.7  # towards the probe, which looks along y
    assert faces.mean() > 0.5
    monkeypatch.setattr(FieldMap, "shown_parts", lambda _, mesh: mesh)
    whole = plate.extract_mesh()
    assert turned_away(plate, whole).sum() > 3 * turned_away(plate, shown).sum()
    assert (vertex_normals(whole)[:, 1] < -0.7).sum() == faces.sum()


def test_a_thin_bone_seen_from_both_sides_keeps_both(
    plate: FieldMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, whole = plate.extract_mesh(), np.array([0.0, 1.0, 0.0], np.float32)
    beams = [(1.0, True), (0.85, True), (0.75, False), (0.0, False)]  # from below, but for some
    for length, gone in beams:
        mean = np.tile(-length * whole, (len(mesh.vertices_mm), 1))
        monkeypatch.setattr(SeenVoxels, "directions", lambda *_, mean=mean: mean)
        shown = plate.shown_parts(mesh)
        # Towards the probe, which looks along y.
        faces, all_faces = ((vertex_normals(one)[:, 1] < -0.7).sum() for one in (shown, mesh))
        assert (faces < 0.2 * all_faces) == gone
        assert (len(shown.triangles) == len(mesh.triangles)) != gone
