import numpy as np
import pytest

from us_recon.simulation.catalogue import make_patient
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.patients.liver import LiverSettings, VirtualLiver
from us_recon.simulation.patients.vessels import SHRINK, TAPER, VesselTree, grow
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.scanner.probes import abdominal_probe
from us_recon.simulation.scene import LEVEL_SETS, SceneGrid, on_grid
from us_recon.simulation.testbench import QUIET
from us_recon.simulation.tissue import TISSUES


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def liver() -> VirtualLiver:
    return VirtualLiver(seed=4)


@pytest.fixture(scope="module")
def grid(liver: VirtualLiver) -> SceneGrid:
    return on_grid(liver, 3.5, 2.0)


@pytest.fixture(scope="module")
def cell() -> ScanningCell:
    return make_cell("liver", "convex", 4, settings=CellSettings(grid_mm=1.5))


def test_rods_by_hand() -> None:
    # A rod along x from 0 to 10 whose radius falls from 2 to 1: at 5 it is 1.5.
    tree = VesselTree(np.array([[0, 0, 0, 10, 0, 0, 2, 1]], dtype=np.float32))
    distance = tree.distance_mm(points((5, 3, 0), (5, 0, 0), (12, 0, 0), (0, 0, -7), (0, 90, 0)))
    np.testing.assert_allclose(distance, [1.5, -1.5, 1.0, 5.0, 6.0], atol=1e-5)


def test_trees_split_as_often_as_asked_and_obey_murray() -> None:
    rng = np.random.default_rng(0)
    rods = np.array(grow(rng, np.zeros(3), np.array([0.0, 0.0, 1.0]), 5.0, 30.0, 3, lambda _: True))
    # 1 + 2 + 4 + 8 branches of two rods each.
    assert len(rods) == 30
    children = np.flatnonzero(np.all(np.isclose(rods[:, :3], rods[1, 3:6]), axis=1))
    assert len(children) == 2
    # Cubes of the radii add up, within the drawn spread of 12 percent.
    total = np.cbrt((rods[children, 6] ** 3).sum())
    assert total == pytest.approx(5.0 * TAPER**2, rel=0.12)
    # Two equal branches: each has half of the cube.
    assert pytest.approx(0.5) == SHRINK**3


def test_branches_do_not_leave() -> None:
    rng = np.random.default_rng(1)
    rods = np.array(
        grow(rng, np.zeros(3), np.array([0.0, 0.0, 1.0]), 5.0, 20.0, 4, lambda p: bool(p[2] < 34.0))
    )
    assert rods[:, 5].max() < 34.0 and len(rods) > 2


def test_organs_lie_where_they_should(liver: VirtualLiver) -> None:
    T = liver.T_scene_approach
    bile = TISSUES["bile"].backscatter_amplitude
    # The gallbladder's middle, and the lung behind the dome at the end of the sweep's middle beam.
    wall = liver.wall_mm - 21.0
    middle = points((19.0, -65.0 - wall, 4.5))
    lung = (T[:3, 3] + 150.0 * T[:3, 1])[None].astype(np.float32)
    names = [interface.name for interface in liver.interfaces]
    found = liver.properties(np.concatenate([middle, lung]), 3.5)
    assert found.backscatter[0] == pytest.approx(bile, rel=0.01)
    assert found.level_sets_mm[0, names.index("gallbladder")] < -5.0
    assert found.level_sets_mm[1, names.index("diaphragm")] < 0.0
    assert found.level_sets_mm[0, names.index("diaphragm")] > 5.0


def test_vessels_stay_inside_the_liver(liver: VirtualLiver) -> None:
    organs = liver.organs
    for tree, trunk in ((organs.portal, 1), (organs.hepatic, 1)):
        # The trunk, portal vein or vena cava, comes from outside.
        ends = tree.rods[trunk:, 3:6]
        depth = organs.liver_mm(ends, organs.dome_mm(ends))
        assert depth.max() < 0.0
        assert len(tree.rods) > 40


def test_the_solids_are_closed_and_of_human_size(grid: SceneGrid) -> None:
    # A gallbladder holds 20 to 60 ml, a liver 1 to 2 l; part of the liver is cut off by the grid.
    voxel_ml = grid.grid.spacing_mm**3 / 1000.0
    names = [interface.name for interface in grid.interfaces]
    inside = {
        name: float((grid.fields[LEVEL_SETS + names.index(name)] < 0).sum()) * voxel_ml
        for name in ("vessels", "gallbladder", "capsule")
    }
    assert 15.0 < inside["gallbladder"] < 70.0
    assert 600.0 < inside["capsule"] < 2200.0
    assert 15.0 < inside["vessels"] < 150.0
    assert len(grid.surface("vessels").triangles) > 1000


def test_portal_veins_have_a_bright_wall_and_hepatic_veins_none(liver: VirtualLiver) -> None:
    organs = liver.organs
    rng = np.random.default_rng(3)
    here = rng.uniform([-60, -110, 0], [60, -50, 50], (200_000, 3)).astype(np.float32)
    portal, hepatic = organs.portal.distance_mm(here), organs.hepatic.distance_mm(here)
    scene = here.copy()
    scene[:, 1] += np.float32(21.0 - liver.wall_mm)
    level = liver.properties(scene, 3.5).backscatter
    by_portal = level[(np.abs(portal - 0.9) < 0.4) & (hepatic > 4.0)]
    by_hepatic = level[(np.abs(hepatic - 0.9) < 0.4) & (portal > 4.0)]
    parenchyma = TISSUES["liver"].backscatter_amplitude
    assert np.median(by_portal) > 2.0 * parenchyma
    assert np.median(by_hepatic) == pytest.approx(parenchyma, rel=0.25)


def test_abdomens_of_a_population_differ_and_repeat() -> None:
    drawn = [LiverSettings.drawn(seed) for seed in range(20)]
    assert len({settings.fat_mm for settings in drawn}) == 20
    assert LiverSettings.drawn(4) == drawn[4]
    first, again, other = (make_patient("liver", seed) for seed in (4, 4, 5))
    assert isinstance(first, VirtualLiver) and isinstance(other, VirtualLiver)
    assert isinstance(again, VirtualLiver)
    np.testing.assert_array_equal(first.organs.portal.rods, again.organs.portal.rods)
    assert not np.array_equal(first.organs.portal.rods[5:9], other.organs.portal.rods[5:9])


def test_a_thick_wall_pushes_the_organs_back() -> None:
    thin, thick = (VirtualLiver(LiverSettings(fat_mm=fat)) for fat in (5.0, 20.0))
    here = points((30.0, -80.0, 20.0), (0.0, -95.0, 30.0))
    moved = here - np.array([0.0, 15.0, 0.0], dtype=np.float32)
    depth = VirtualLiver.properties(thin, here, 3.5).level_sets_mm
    behind = VirtualLiver.properties(thick, moved, 3.5).level_sets_mm
    np.testing.assert_allclose(behind[:, 4:], depth[:, 4:], atol=1e-3)


def test_the_image_shows_gallbladder_enhancement_and_diaphragm(cell: ScanningCell) -> None:
    number = cell.image_count // 4
    T = cell.trajectory.poses(cell.image_times_s[[number]])[0]
    level_db = cell.imager.beams_db(T)
    plane = cell.geometry.beam_points_mm.reshape(-1, 2)
    places = (T[:3, :2] @ plane.T + T[:3, 3:]).T.astype(np.float32)
    names = [interface.name for interface in cell.scene.interfaces]
    level_sets = cell.scene.properties(places, 3.5).level_sets_mm
    shape = level_db.shape
    liver, bile, lung = (
        level_sets[:, names.index(name)].reshape(shape)
        for name in ("capsule", "gallbladder", "diaphragm")
    )
    vessels = level_sets[:, names.index("vessels")].reshape(shape)
    tissue = (liver < -3.0) & (bile > 4.0) & (vessels > 4.0)
    assert np.median(level_db[tissue]) - np.median(level_db[bile < -3.0]) > 18.0
    # Behind the gallbladder the sound was weakened less than beside it at the same depth.
    crossed = (bile < -2.0).sum(axis=1) > 40
    beside = ~(bile < 6.0).any(axis=1)
    depth = np.broadcast_to(cell.geometry.sample_depths_mm, shape)
    low = np.max(np.where(bile < 0, depth, 0.0)) + 4.0
    band = tissue & (depth > low) & (depth < low + 20.0)
    enhanced = np.median(level_db[crossed[:, None] & band])
    assert enhanced - np.median(level_db[beside[:, None] & band]) > 2.0
    # The diaphragm is the brightest echo of the middle beam; behind it is what noise there is.
    middle = shape[0] // 2
    hit = int(np.argmax(lung[middle] < 0))
    echo = int(np.argmax(level_db[middle, 60:])) + 60
    assert abs(echo - hit) * cell.geometry.sample_step_mm < 2.0
    # Behind it lies the dirty shadow of air: a haze about as bright as tissue that fades by
    # 8 dB/cm, less the gain of 2 * 0.6 * 3.5 = 4.2 dB/cm.
    silent = Imager(cell.grid, cell.geometry, QUIET, abdominal_probe(cell.geometry.kind).beam, 4)
    beams_db = silent.beams_db(T)[middle - 10 : middle + 10]
    behind = [
        beams_db[:, hit + round(at_mm / cell.geometry.sample_step_mm) :][:, :14].mean()
        for at_mm in (3.0, 13.0)
    ]
    assert abs(behind[0] - np.median(level_db[tissue])) < 8.0
    assert 1.0 < behind[0] - behind[1] < 8.0


def test_the_mri_shows_vessels_dark_in_the_liver() -> None:
    liver = VirtualLiver(LiverSettings(mri_mm=2.0), seed=4)
    mri = liver.mri()
    rods = liver.organs.hepatic.rods[0]
    cava = 0.6 * rods[3:6] + 0.4 * rods[:3]
    cava[1] -= np.float32(liver.wall_mm - 21.0)
    vessel, parenchyma, air = mri.sample(
        np.stack([cava, np.array([20.0, -60.0, 45.0]), np.array([0.0, 5.5, 30.0])]).astype(
            np.float32
        )
    )
    assert vessel < 70.0 and 110.0 < parenchyma < 180.0 and air < 30.0
