"""The mesh of a field kept up to date against the one made at once."""

from pathlib import Path

import numpy as np

from us_recon.geometry.rigid import make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.block_grid import BlockGrid, block_keys
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.field.raster import FieldRaster, Patience
from us_recon.occupancy.field.settings import FieldSettings
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.meshing import extract_surface
from us_recon.occupancy.voxels import LogOddsMap

EVERY_BLOCK = Patience(moved=-1.0, most_moved=1 << 20)


def new_map() -> FieldMap:
    return FieldMap(FieldSettings(), LogOddsMap(BlockGrid(1.0, 10_000)), min_depth_mm=4.0)


def integrate(made: FieldMap, frame: TrackedFrame, steps: int) -> None:
    surface = None if frame.label is None else label_surface(frame.label, frame.geometry)
    made.integrate(frame, surface, 1.5)
    made.step(steps)


def at_once(made: FieldMap, spacing_mm: float = 1.0) -> Mesh:
    """Return the mesh of what was seen so far, everything asked anew."""
    raster = FieldRaster(spacing_mm)
    raster.update(made.reading(made.seen.counts))
    whole = extract_surface(raster.arrays(), spacing_mm, min_weight=0.0)
    return made.shown_parts(whole)


def assert_same(live: Mesh, whole: Mesh) -> None:
    # A matrix product rounds its last rows differently.
    np.testing.assert_array_equal(live.triangles, whole.triangles)
    np.testing.assert_allclose(live.vertices_mm, whole.vertices_mm, atol=1e-3)


def distance_mm(one: Mesh, other: Mesh) -> np.ndarray:
    apart = one.vertices_mm[:, None] - other.vertices_mm
    return np.linalg.norm(apart, axis=2).min(axis=1)


def test_random_frames_and_steps_give_the_mesh_made_at_once(
    bone_sweep: list[TrackedFrame],
) -> None:
    made = new_map()
    made.raster.patience = EVERY_BLOCK
    random = np.random.default_rng(0)
    sizes = []
    for k in random.permutation(len(bone_sweep)):
        integrate(made, bone_sweep[k], int(random.integers(0, 6)))
        live = made.extract_mesh(complete=False)
        assert_same(live, at_once(made))
        sizes.append(len(live.triangles))
    assert sizes[-1] > 500
    assert len(set(sizes)) > 6


def test_what_lags_is_near_and_catches_up(bone_sweep: list[TrackedFrame]) -> None:
    made = new_map()
    for frame in bone_sweep:
        integrate(made, frame, 4)
        live, whole = made.extract_mesh(complete=False), at_once(made)
    assert len(whole.triangles) > 500
    assert np.percentile(distance_mm(live, whole), 90) < 0.25
    assert np.percentile(distance_mm(whole, live), 90) < 0.25
    # A field that rests: every update asks the blocks that were not for longest.
    blocks = len(made.raster.arrays().blocks)
    for _ in range(blocks // made.raster.patience.oldest + 1):
        live = made.extract_mesh(complete=False)
        assert made.raster.asked <= made.raster.patience.oldest
    assert_same(live, whole)


def test_a_field_that_moved_is_asked_at_most_so_often(bone_sweep: list[TrackedFrame]) -> None:
    made = new_map()
    for frame in bone_sweep[:6]:
        integrate(made, frame, 4)
    made.raster.patience = Patience(moved=0.05, most_moved=3, oldest=0)
    made.extract_mesh(complete=False)
    made.extract_mesh(complete=False)
    assert made.raster.asked == 0
    before = block_keys(made.raster.arrays().blocks)
    made.step(50)
    made.extract_mesh(complete=False)
    new = np.setdiff1d(block_keys(made.raster.arrays().blocks), before)
    assert made.raster.asked == 3 + len(new)


def test_a_loaded_map_shows_what_the_saved_one_did(
    bone_sweep: list[TrackedFrame], tmp_path: Path
) -> None:
    mapper = OccupancyMapper(MapperSettings(method="field"))
    for frame in bone_sweep[:6]:
        mapper.integrate(frame)
    live = mapper.snapshot(complete=False).mesh
    mapper.save(tmp_path / "map.npz")
    again = OccupancyMapper.load(tmp_path / "map.npz").snapshot(complete=False).mesh
    assert len(live.triangles) > 100
    assert_same(again, live)
    mapper.reset()
    assert mapper.snapshot(complete=False).mesh.is_empty
    mapper.integrate(bone_sweep[0])
    alone = OccupancyMapper(mapper.settings)
    alone.integrate(bone_sweep[0])
    fresh = alone.snapshot(complete=False).mesh
    assert_same(mapper.snapshot(complete=False).mesh, fresh)


def test_voxels_far_away_do_no_harm(bone_sweep: list[TrackedFrame]) -> None:
    # A pose 20 m off: a box around everything would have some 10^9 blocks.
    made = new_map()
    for frame in bone_sweep[:6]:
        integrate(made, frame, 4)
    far = make_rigid(np.eye(3), np.array([2e4, 2e4, 2e4]))
    label = bone_sweep[0].label
    assert label is not None
    surface = label_surface(label, bone_sweep[0].geometry)
    before = at_once(made)
    made.voxels.integrate(
        TrackedFrame(1, bone_sweep[0].image, far, bone_sweep[0].geometry), surface, 1.5
    )
    assert len(before.triangles) > 0
    assert_same(at_once(made), before)
