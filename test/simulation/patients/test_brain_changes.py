"""Lesion and brain shift of the virtual brain."""

import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.imaging.volume import Volume
from us_recon.simulation.catalogue import make_patient
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.patients.brain import BrainSettings, VirtualBrain
from us_recon.simulation.patients.brain_shift import Sag
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.scanner.probes import surgical_probe
from us_recon.simulation.scene import on_grid

DOWN = np.array([0.0, 0.0, -1.0])


def nodes(brain: VirtualBrain, reach_mm: float = 40.0, count: int = 3000) -> np.ndarray:
    """Return points within some distance of the opening."""
    offsets = np.random.default_rng(0).uniform(-reach_mm, reach_mm, (count, 3))
    return brain.T_scene_approach[:3, 3] + offsets


def test_the_shift_is_the_asked_size_where_it_is_largest_and_nothing_far_away() -> None:
    brain = VirtualBrain(BrainSettings(shift_mm=8.0))
    assert brain.sag is not None
    at = np.stack(
        [brain.sag.centre_mm, brain.sag.centre_mm + np.array([30.0, 0.0, 0.0]), [0.0, 0.0, -40.0]]
    )
    shift = brain.shift_mm(at)
    np.testing.assert_allclose(shift[0], 8.0 * brain.T_scene_approach[:3, 1], atol=1e-9)
    # 30 mm aside, the length of the fall-off, 1/e is left.
    assert np.linalg.norm(shift[1]) == pytest.approx(8.0 / np.e)
    assert np.linalg.norm(at[2] - at[0]) > 75.0 and np.linalg.norm(shift[2]) < 0.02
    everywhere = np.linalg.norm(brain.shift_mm(nodes(brain)), axis=1)
    assert everywhere.max() <= 8.0
    # The cortex is where the shift is largest: 1.8 mm under the dura's outer face.
    assert brain.contact_distance_mm(brain.T_scene_approach[:3, 3][None])[0] > 7.0


def test_without_a_shift_nothing_moves() -> None:
    brain = VirtualBrain()
    assert not brain.shift_mm(nodes(brain)).any()


@pytest.mark.parametrize("size_mm", [3.0, 12.0, 25.0])
def test_the_shift_can_be_undone(size_mm: float) -> None:
    sag = Sag(np.zeros(3), DOWN, size_mm, 30.0)
    before = np.random.default_rng(1).uniform(-60.0, 60.0, (5000, 3))
    after = before + sag.shift_mm(before)
    assert np.abs(sag.origin_mm(after) - before).max() < 1e-3
    # Its slope by differences is at most the one stated, and less than 1.
    step = np.array([0.0, 0.0, 1e-4])
    slope = np.linalg.norm(sag.shift_mm(before + step) - sag.shift_mm(before), axis=1) / 1e-4
    assert slope.max() <= sag.steepest_slope < 1.0
    assert slope.max() == pytest.approx(sag.steepest_slope, rel=0.1)


def test_a_shift_that_folds_is_refused() -> None:
    # sqrt(2 / e) * 20 / 15 = 1.14: tissue would pass through itself.
    with pytest.raises(ConfigError, match=r"shift_length_mm of 21\.4 mm or more"):
        Sag(np.zeros(3), DOWN, 20.0, 15.0)


@pytest.mark.parametrize("lesion", ["none", "solid"])
def test_properties_travel_with_the_tissue(lesion: str) -> None:
    still = VirtualBrain(BrainSettings(lesion=lesion))
    moved = VirtualBrain(BrainSettings(lesion=lesion, shift_mm=9.0))
    skull = [interface.name for interface in still.interfaces].index("skull")
    here = nodes(still).astype(np.float32)
    there = (here + moved.shift_mm(here.astype(np.float64))).astype(np.float32)
    before, after = still.properties(here, 5.0), moved.properties(there, 5.0)
    soft = np.delete(np.arange(len(still.interfaces)), skull)
    # In the skull itself the bone has stayed, so points there and under its new gap are left out.
    free = (before.level_sets_mm[:, skull] > 2.0) & (after.level_sets_mm[:, skull] > 2.0)
    assert free.sum() > 1000
    np.testing.assert_allclose(after.backscatter[free], before.backscatter[free], atol=5e-3)
    np.testing.assert_allclose(
        after.level_sets_mm[free][:, soft], before.level_sets_mm[free][:, soft], atol=1e-2
    )
    same = moved.properties(here, 5.0)
    np.testing.assert_array_equal(same.level_sets_mm[:, skull], before.level_sets_mm[:, skull])
    assert np.abs(same.level_sets_mm[:, 0] - before.level_sets_mm[:, 0]).max() > 5.0


def test_the_mri_shows_the_brain_before_the_shift() -> None:
    still = make_patient("brain", 5, {"lesion": "solid"})
    moved = make_patient("brain", 5, {"lesion": "solid", "shift_mm": 10.0})
    np.testing.assert_array_equal(still.mri().data, moved.mri().data)


@pytest.mark.parametrize("seed", range(6))
def test_lesions_lie_under_the_opening_and_outside_the_ventricles(seed: int) -> None:
    brain = make_patient("brain", seed, {"lesion": "cystic", "lesion_radius_mm": 7.0})
    assert isinstance(brain, VirtualBrain) and brain.lesion is not None
    local = brain.T_scene_approach[:3, :3].T @ (
        brain.lesion.centre_mm - brain.T_scene_approach[:3, 3]
    )
    assert 10.0 <= local[1] <= 35.0 and np.abs(local[[0, 2]]).max() <= 10.0
    sphere = brain.lesion.centre_mm + 7.0 * np.vstack([np.eye(3), -np.eye(3)])
    assert brain.maps.sample(brain.maps.ventricle, sphere.astype(np.float32)).max() < 0.5
    assert brain.solids[0] == brain.target == "lesion" and brain.target_is_solid


def test_a_drawn_brain_has_neither_lesion_nor_shift() -> None:
    brain = make_patient("brain", 3)
    assert isinstance(brain, VirtualBrain)
    assert brain.lesion is None and brain.sag is None
    assert brain.target == "skull" and not brain.target_is_solid


def test_the_lesions_mesh_has_about_the_asked_size() -> None:
    brain = VirtualBrain(BrainSettings(lesion="solid", lesion_radius_mm=9.0), seed=4)
    mesh = on_grid(brain, 5.0, 1.5).surface("lesion")
    assert brain.lesion is not None
    radius = np.linalg.norm(mesh.vertices_mm - brain.lesion.centre_mm, axis=1)
    assert radius.mean() == pytest.approx(9.0, abs=1.5)
    # It is not a sphere, and it is one piece around its middle.
    assert 0.3 < radius.std() < 2.5 and radius.min() > 3.0


@pytest.mark.parametrize(("kind", "brighter"), [("solid", True), ("cystic", False)])
def test_lesions_show_in_both_images(kind: str, brighter: bool) -> None:
    cell = make_cell(
        "brain", "convex", 3, settings=CellSettings(grid_mm=1.5), patient={"lesion": kind}
    )
    brain = cell.scene
    assert isinstance(brain, VirtualBrain) and brain.lesion is not None
    imager = Imager(
        cell.grid, cell.geometry, ImagerSettings(), surgical_probe(cell.geometry.kind).beam, 3
    )
    # The probe slid so far that the lesion's middle lies in the image plane.
    T = brain.T_scene_approach.copy()
    T[:3, 3] += T[:3, 2] * (T[:3, 2] @ (brain.lesion.centre_mm - T[:3, 3]))
    level_db = imager.beams_db(T)
    plane = cell.geometry.beam_points_mm.reshape(-1, 2)
    places = T[:3, :2] @ plane.T + T[:3, 3:]
    distance = brain.lesion.distance_mm(places.T.astype(np.float32)).reshape(level_db.shape)
    depth_mm = np.broadcast_to(cell.geometry.sample_depths_mm, level_db.shape)
    middle = float(depth_mm[distance < -2.0].mean())
    beside = (distance > 5.0) & (np.abs(depth_mm - middle) < 6.0)
    contrast_db = np.median(level_db[distance < -2.0]) - np.median(level_db[beside])
    assert contrast_db > 3.0 if brighter else contrast_db < -20.0
    mri, plain = brain.mri(), VirtualBrain(BrainSettings.drawn(3)).mri()
    assert_darker_inside(mri, plain, brain)


def assert_darker_inside(mri: Volume, plain: Volume, brain: VirtualBrain) -> None:
    assert brain.lesion is not None
    offsets = np.random.default_rng(2).uniform(-20.0, 20.0, (4000, 3))
    places = (brain.lesion.centre_mm + offsets).astype(np.float32)
    distance = brain.lesion.distance_mm(places)
    change = mri.sample(places) - plain.sample(places)
    np.testing.assert_array_equal(change[distance > 4.0], 0.0)
    white = np.median(plain.data[brain.maps.white > 0.95])
    assert np.median(mri.sample(places)[distance < -3.0]) < 0.85 * white
