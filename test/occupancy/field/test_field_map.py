"""The field as a map: what it shows, where, and that it goes on where it was left."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.field.settings import FieldSettings
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.voxels import LogOddsMap


def fitted(frames: list[TrackedFrame], steps: int = 4, **settings: object) -> FieldMap:
    """Return a field that was shown images alone, without labels or detector."""
    made = FieldMap(
        FieldSettings(**settings),  # type: ignore[arg-type]
        LogOddsMap(BlockGrid(1.0, 10_000)),
        min_depth_mm=4.0,
    )
    for frame in frames:
        made.integrate(replace(frame, label=None), None, 1.5)
        made.step(steps)
    return made


@pytest.fixture(scope="module")
def from_shadow(bone_sweep: list[TrackedFrame]) -> FieldMap:
    """A field that found bone by its echo and shadow alone."""
    return fitted(bone_sweep, steps=30, empty_weight=0.1)


def face_mm(mesh: Mesh, cell_mm: float) -> np.ndarray:
    """Depth at which each column over the middle of the bone first meets the mesh."""
    x, y, z = mesh.vertices_mm.T
    cells: dict[tuple[int, int], float] = {}
    for column, depth_mm in zip(np.rint(np.column_stack([x, z]) / cell_mm), y, strict=True):
        if abs(column[0] * cell_mm) < 8.0 and 0 <= column[1] * cell_mm <= 11.0:
            cell = (int(column[0]), int(column[1]))
            cells[cell] = min(cells.get(cell, np.inf), float(depth_mm))
    return np.array(list(cells.values()))


def test_shadow_alone_tells_where_bone_is(from_shadow: FieldMap) -> None:
    # No label, no detector: echo and shadow have to be explained. The echo is 0.4 mm (standard
    # deviation) to either side of 20 mm.
    face = face_mm(from_shadow.extract_mesh(), 1.0)
    assert len(face) > 60  # of 15 x 12 columns
    assert np.median(face) == pytest.approx(20.0, abs=0.6)
    assert np.percentile(np.abs(face - 20.0), 75) < 0.6


def patch(size_mm: float, depth_mm: float = 20.0) -> Mesh:
    """Return a square that faces the probe."""
    x, z = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32).T * size_mm
    corners = np.column_stack([x, np.full_like(x, depth_mm), z + 2.0])
    return Mesh(corners, np.array([[0, 2, 1], [0, 3, 2]], np.int32))


def test_a_small_part_needs_the_voxels_to_speak_for_it(from_shadow: FieldMap) -> None:
    small, large = patch(4.0), patch(5.0)  # 16 and 25 mm2
    assert from_shadow.shown_parts(large).area_mm2 == pytest.approx(25.0)
    assert from_shadow.shown_parts(small).is_empty
    grid = from_shadow.grid
    for deep, shown in ((23, False), (21, True)):  # 3 voxels behind it, and 1
        at = grid.locate(np.array([[4, deep, 6]]))
        grid.value[at], grid.weight[at] = 1.0, 1.0
        assert from_shadow.shown_parts(small).is_empty == (not shown)
    # The voxel beside it lies in the next block.
    assert not from_shadow.shown_parts(patch(4.0, depth_mm=22.5)).is_empty
    grid.clear()
    for voxel in ([4, 24, 6], [4, 23, 6], [-1, 23, 1]):
        at = grid.locate(np.array([voxel]))
        grid.value[at], grid.weight[at] = 1.0, 1.0
        assert not from_shadow.shown_parts(patch(4.0, depth_mm=23.5)).is_empty
        grid.clear()


def test_tissue_without_shadow_stays_empty(
    bone_sweep: list[TrackedFrame], speckle: Callable[..., np.ndarray]
) -> None:
    tissue = [
        replace(frame, image=np.clip(speckle(frame.image.shape, seed=k), 0, 255).astype(np.uint8))
        for k, frame in enumerate(bone_sweep)
    ]
    assert fitted(tissue, steps=20).extract_mesh().is_empty


def test_finer_mesh_shows_the_same_surface(from_shadow: FieldMap) -> None:
    coarse, fine = from_shadow.extract_mesh(), from_shadow.extract_mesh(spacing_mm=0.5)
    assert len(fine.vertices_mm) > 3 * len(coarse.vertices_mm)
    difference = np.median(face_mm(fine, 1.0)) - np.median(face_mm(coarse, 1.0))
    assert abs(difference) < 0.2


def test_seed_and_frames_decide_everything(bone_sweep: list[TrackedFrame]) -> None:
    one, two = (fitted(bone_sweep[:4], steps=10).extract_mesh() for _ in range(2))
    np.testing.assert_array_equal(one.vertices_mm, two.vertices_mm)
    points = np.array([[0.0, 20.5, 2.0]], np.float32)
    values = [fitted(bone_sweep[:4], seed=s).fit.log_odds(points)[0] for s in (0, 1)]
    assert values[0] != values[1]


def test_a_field_comes_to_rest(bone_sweep: list[TrackedFrame]) -> None:
    made = fitted(bone_sweep, steps=8)
    points = bone_sweep[0].geometry.beam_points_mm[::4, ::4].reshape(-1, 2)
    points = np.column_stack([points, np.full(len(points), 5.0)]).astype(np.float32)

    def moved_by(steps: Callable[[], None]) -> float:
        before = made.fit.log_odds(points)
        steps()
        return float(np.abs(made.fit.log_odds(points) - before).mean())

    trembling = moved_by(lambda: made.step(20))
    made.settle(300)
    rested = made.fit.log_odds(points)
    made.settle(300)  # it has come to rest: nothing moves any more
    np.testing.assert_array_equal(made.fit.log_odds(points), rested)
    assert made.replay is not None
    last = [made.fit.settle(made.replay, 0.1) for _ in range(20)]
    assert all(last) and np.abs(made.fit.log_odds(points) - rested).mean() < 0.3 * trembling
    made.settle(1)  # steps since then: it moves again
    face = face_mm(made.extract_mesh(), 1.0)
    assert np.percentile(np.abs(face - 20.0), 75) < 0.6


def test_frames_that_no_step_was_taken_for_are_settled(bone_sweep: list[TrackedFrame]) -> None:
    made = fitted(bone_sweep[:4], steps=0)
    made.settle(30)
    assert made.fit.steps == 30
    made.integrate(replace(bone_sweep[4], label=None), None, 1.5)
    made.settle(30)
    assert made.fit.steps == 60


def test_steps_are_as_large_as_the_pace(bone_sweep: list[TrackedFrame]) -> None:
    moves = []
    for pace in (1.0, 0.1):
        made = fitted(bone_sweep[:4])
        assert made.replay is not None
        parts = made.fit.lattices[0].values, made.fit.network.weights[0]
        before = [part.copy() for part in parts]
        made.fit.settle(made.replay, pace)
        moves.append([new - old for new, old in zip(parts, before, strict=True)])
    for whole, tenth in zip(*moves, strict=True):
        assert np.abs(whole).max() > 1e-3
        np.testing.assert_allclose(tenth, 0.1 * whole, atol=1e-6)


def test_frames_count_alike_while_a_field_settles(bone_sweep: list[TrackedFrame]) -> None:
    made = fitted(bone_sweep)
    assert made.replay is not None
    newest = made.replay.count - 1
    shares = []
    for learnt in (made.fit.step(made.replay), made.fit.settle(made.replay, 0.5)):
        assert learnt is not None
        shares.append((learnt.picks.frame == newest).mean())
    assert shares[0] >= 0.5
    assert shares[1] < 0.4


def test_field_goes_on_from_a_file(bone_sweep: list[TrackedFrame], tmp_path: Path) -> None:
    settings = MapperSettings(method="field")
    whole, first = OccupancyMapper(settings), OccupancyMapper(settings)
    for frame in bone_sweep[:4]:
        whole.integrate(frame)
        first.integrate(frame)
    first.save(tmp_path / "map.npz")
    again = OccupancyMapper.load(tmp_path / "map.npz")
    for frame in bone_sweep[4:8]:
        whole.integrate(frame)
        again.integrate(frame)
    whole.step(5)
    again.step(5)
    mesh = whole.snapshot().mesh
    assert len(mesh.vertices_mm) > 100
    np.testing.assert_array_equal(again.snapshot().mesh.vertices_mm, mesh.vertices_mm)


def test_a_file_holds_directions_of_beams_whose_frames_are_forgotten(
    from_shadow: FieldMap,
) -> None:
    state = from_shadow.state()
    state["beams"] = state["beams"] + 1  # as if there had been more
    again = FieldMap(from_shadow.settings, LogOddsMap(BlockGrid(1.0, 10_000)), min_depth_mm=4.0)
    again.restore(state)
    np.testing.assert_array_equal(again.seen.beams, state["beams"])


def test_the_fast_snapshot_shows_what_the_complete_one_does(
    bone_sweep: list[TrackedFrame],
) -> None:
    mapper = OccupancyMapper(MapperSettings(method="field"))
    for frame in bone_sweep:
        mapper.integrate(frame)
    mapper.step(100)
    fast, complete = (mapper.snapshot(complete=one).mesh for one in (False, True))
    # Beams that no step looked at do not count in the fast one: it cannot be the larger.
    assert 0.5 * complete.area_mm2 < fast.area_mm2 < 1.1 * complete.area_mm2
    assert len(fast.vertices_mm) != len(complete.vertices_mm)
    assert np.median(face_mm(fast, 1.0)) == pytest.approx(
        np.median(face_mm(complete, 1.0)), abs=0.2
    )


def test_images_of_another_geometry_enter_the_voxels_alone(
    bone_sweep: list[TrackedFrame],
) -> None:
    made = fitted(bone_sweep[:2])
    deeper = replace(bone_sweep[2].geometry, depth_mm=30.0)
    made.integrate(replace(bone_sweep[2], geometry=deeper), None, 1.5)
    assert made.refused_frames == 1
    assert made.replay is not None
    assert made.replay.count == 2


def test_steps_in_a_thread_of_their_own_lead_to_the_same_place(
    bone_sweep: list[TrackedFrame],
) -> None:
    now, later = (
        FieldMap(FieldSettings(), LogOddsMap(BlockGrid(1.0, 10_000)), min_depth_mm=4.0)
        for _ in range(2)
    )
    for frame in bone_sweep:
        for made in (now, later):
            made.integrate(replace(frame, label=None), None, 1.5)
        now.step(8)
        later.step_later(8)
    np.testing.assert_array_equal(now.extract_mesh().vertices_mm, later.extract_mesh().vertices_mm)
    assert now.fit.steps == later.fit.steps


def test_an_error_in_that_thread_comes_up(
    bone_sweep: list[TrackedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fitted(bone_sweep[:2])

    def fails(_: object) -> None:
        raise ValueError("no steps today")

    monkeypatch.setattr(made.fit, "step", fails)
    made.step_later(1)
    with pytest.raises(ValueError, match="no steps today"):
        made.extract_mesh()
