from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.rigid import is_rigid
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh import Mesh
from us_recon.simulation.catalogue import PATIENTS, make_patient
from us_recon.simulation.patients import brain as brain_module
from us_recon.simulation.patients import template
from us_recon.simulation.patients.brain import BrainSettings, VirtualBrain
from us_recon.simulation.patients.spine import SpineSettings, VirtualSpine
from us_recon.simulation.patients.template import TissueMaps
from us_recon.simulation.scene import Scene, on_grid
from us_recon.simulation.tissue import TISSUES


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def volume_cm3(mesh: Mesh) -> float:
    """Return the volume inside a closed mesh whose triangles face out (divergence theorem)."""
    a, b, c = np.moveaxis(mesh.vertices_mm[mesh.triangles].astype(np.float64), 1, 0)
    return float(np.einsum("ni,ni->", a, np.cross(b, c)) / 6000.0)


def open_edges(mesh: Mesh) -> int:
    """Return the number of edges that do not join exactly two triangles."""
    edges = np.sort(mesh.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    return int((uses != 2).sum())


@pytest.fixture(scope="module")
def spine() -> VirtualSpine:
    return VirtualSpine()


@pytest.fixture(scope="module")
def brain() -> VirtualBrain:
    return VirtualBrain()


@pytest.mark.parametrize("name", sorted(set(PATIENTS) - {"volume"}))
def test_scenes_keep_the_protocol(name: str) -> None:
    scene = make_patient(name, 3)
    assert isinstance(scene, Scene) and scene.name == name
    assert is_rigid(scene.T_scene_approach)
    low, high = scene.bounds_mm
    assert np.all(low < scene.T_scene_approach[:3, 3]) and np.all(
        scene.T_scene_approach[:3, 3] + 20.0 * scene.T_scene_approach[:3, 1] < high
    )
    assert set(scene.solids) <= {interface.name for interface in scene.interfaces}
    # The depth axis leads into the patient.
    inside = scene.T_scene_approach[:3, 3] + 60.0 * scene.T_scene_approach[:3, 1]
    assert scene.contact_distance_mm(inside[None])[0] < 0


def test_vertebrae_are_closed_and_of_human_size(spine: VirtualSpine) -> None:
    mesh = on_grid(spine, 5.0, 1.5).surface("bone")
    assert open_edges(mesh) == 0
    # A lumbar vertebra has 35 to 65 cm3 (the canal left out).
    assert 100.0 < volume_cm3(mesh) < 200.0
    width, _, height = np.ptp(mesh.vertices_mm, axis=0)
    assert width == pytest.approx(spine.settings.transverse_span_mm, abs=3.0)
    assert height == pytest.approx(2 * 37.0 + 40.0, abs=12.0)


def test_spine_tissues_lie_where_they_should(spine: VirtualSpine) -> None:
    # Body, canal, tip of the spinous process (-14 - 24 mm), muscle beside the arch.
    bone = spine.bone_distance_mm(
        points((0, 25, 0), (0, 0.5, 0), (0, -37, -5), (35, -25, -10), (30, -8, 5.5))
    )
    assert bone[0] < 0 < bone[1] and bone[2] < 0 < bone[3] and bone[4] < 0
    skin_y = spine.skin_y_mm(points((10, 0, 10)))[0]
    column = points(*[(10.0, skin_y + d, 10.0) for d in (-4.0, 1.0, 3.8, 18.0)])
    found = spine.properties(column, 5.0)
    gel, skin, fat, muscle = found.backscatter
    assert gel < 0.01 < fat < skin
    assert muscle == pytest.approx(TISSUES["muscle"].backscatter_amplitude, rel=1.5)
    np.testing.assert_allclose(
        found.attenuation_db_cm,
        [TISSUES[name].attenuation_at(5.0) for name in ("gel", "skin", "fat", "muscle")],
        rtol=0.05,
    )
    assert spine.contact_distance_mm(np.array([[10.0, skin_y - 4.0, 10.0]]))[0] == pytest.approx(
        4.0, abs=1e-3
    )


def test_the_spines_of_a_population_differ() -> None:
    drawn = [SpineSettings.drawn(seed) for seed in range(20)]
    assert len({settings.process_length_mm for settings in drawn}) == 20
    assert SpineSettings.drawn(4) == drawn[4]


def test_mri_of_the_spine_shows_tissues_by_their_own_contrast() -> None:
    spine = VirtualSpine(SpineSettings(mri_mm=2.0))
    mri = spine.mri()
    skin_y = spine.skin_y_mm(points((40, 0, 0)))[0]
    fat, muscle, marrow, air = mri.sample(
        points((40, skin_y + 4.0, 0), (35, -25, -10), (0, 25, 0), (40, skin_y - 5.0, 0))
    )
    assert fat > marrow > muscle > 60.0 and air < 20.0
    again = spine.mri()
    assert mri.data.tobytes() == again.data.tobytes()


def test_template_maps(brain: VirtualBrain) -> None:
    maps = brain.maps
    # Lateral ventricles of young adults hold 10 to 30 cm3; the mean template keeps most of it.
    assert 10.0 < maps.ventricle.sum() / 1000.0 < 45.0
    here = points((28, -10, 25), (8, -10, 20), (60, -10, 60), (0, -20, 120), (-8, -10, 20))
    hull = maps.sample(maps.hull_mm, here)
    assert np.all(hull[[0, 1, 4]] < -10.0) and hull[3] > 20.0
    white = maps.sample(maps.white, here)
    ventricle = maps.sample(maps.ventricle, here)
    assert white[0] > 0.7 and ventricle[0] < 0.1
    assert ventricle[1] > 0.6 and ventricle[4] > 0.6
    total = maps.grey + maps.white
    assert total.min() >= 0.0 and total.max() < 1.05


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_skull_is_open_where_the_probe_goes(side: str) -> None:
    brain = VirtualBrain(BrainSettings(side=side))
    T = brain.T_scene_approach
    assert (T[0, 3] > 0) == (side == "right")
    # On the dura, 5 mm above it in the opening, and 5 mm above it beside the opening.
    skull = [interface.name for interface in brain.interfaces].index("skull")
    assert brain.contact_distance_mm(T[:3, 3][None])[0] == pytest.approx(0.0, abs=0.3)
    above = T[:3, 3] - 5.0 * T[:3, 1]
    beside = T[:3, 3] + 50.0 * T[:3, 2]
    for _ in range(10):
        beside -= (brain.contact_distance_mm(beside[None])[0] - 4.0) * -T[:3, 1]
    found = brain.properties(np.stack([above, beside]).astype(np.float32), 5.0)
    opened, closed = found.level_sets_mm[:, skull]
    assert opened > 5.0 and closed < 0.0


def test_sulci_are_bright_and_ventricles_dark(brain: VirtualBrain) -> None:
    maps = brain.maps
    level = {}
    for name, field in (("sulcus", maps.sulcus), ("ventricle", maps.ventricle)):
        inside = np.argwhere((field > 0.95) & (maps.hull_mm < -4.0))[::500]
        where = (inside + maps.origin_mm).astype(np.float32)
        level[name] = float(np.median(brain.properties(where, 5.0).backscatter))
    white = TISSUES["white_matter"].backscatter_amplitude
    assert level["sulcus"] > 2.0 * white and level["ventricle"] < 0.1 * white


def test_acoustics_do_not_use_the_brightness_of_the_mri(
    brain: VirtualBrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = np.random.default_rng(0).uniform(-60, 60, (500, 3)).astype(np.float32)
    before = brain.properties(where, 5.0)
    original = template.load_template

    def other_contrast(name: str) -> Volume:
        volume = original(name)
        if name != "t1":
            return volume
        return Volume(np.where(volume.data > 0, 300.0 - volume.data, 0.0), volume.T_space_index)

    monkeypatch.setattr(template, "load_template", other_contrast)
    changed = TissueMaps.of_template()
    monkeypatch.setattr(brain_module, "tissue_maps", lambda: changed)
    after = brain.properties(where, 5.0)
    np.testing.assert_array_equal(before.backscatter, after.backscatter)
    np.testing.assert_array_equal(before.level_sets_mm, after.level_sets_mm)


def test_mri_is_the_template(brain: VirtualBrain) -> None:
    mri = brain.mri()
    assert mri.data.shape == (197, 233, 189)
    np.testing.assert_allclose(mri.T_space_index[:3, 3], [-98, -134, -72])


def test_missing_template_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(template.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="install the PyPI package nilearn"):
        brain_module.load_template("t1")
    assert not list(tmp_path.iterdir())


def test_unknown_surface_is_named(spine: VirtualSpine) -> None:
    grid = on_grid(spine, 5.0, 6.0)
    with pytest.raises(InputError, match="'liver' is not in the scene"):
        grid.surface("liver")
