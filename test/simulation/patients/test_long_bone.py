import numpy as np
import pytest

from us_recon.simulation.catalogue import make_patient
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.patients.long_bone import LongBoneSettings, VirtualLongBone
from us_recon.simulation.patients.shaft import FAR_MM, Shaft
from us_recon.simulation.scene import on_grid
from us_recon.simulation.tissue import TISSUES

ROUND = Shaft((0.0, 0.0), 100.0, 10.0, 20.0)


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_a_round_shaft_by_hand() -> None:
    # At mid shaft the radius is 10, at the ends 20; 105 is 5 above the end.
    distance = ROUND.distance_mm(
        points((13, 0, 0), (0, 8, 0), (0, 0, 105), (0, 0, 0), (60, 0, 0), (22, 0, 90))
    )
    np.testing.assert_allclose(distance[:5], [3.0, -2.0, 5.0, -10.0, FAR_MM], atol=1e-3)
    # At 90 the flare is smoothstep((0.9 - 0.62) / 0.38) = 0.825: radius 18.3, so 3.7 beside,
    # a little less because the surface leans.
    assert distance[5] == pytest.approx(3.7, abs=0.25)


def test_distances_are_no_longer_than_they_are() -> None:
    bone = VirtualLongBone().main_bone
    rng = np.random.default_rng(0)
    here = rng.uniform([-30, -30, -115], [30, 30, 115], (20000, 3)).astype(np.float32)
    step = np.float32(0.05)
    slopes = [
        (bone.distance_mm(here + step * axis) - bone.distance_mm(here - step * axis)) / (2 * step)
        for axis in np.eye(3, dtype=np.float32)
    ]
    slope = np.linalg.norm(slopes, axis=0)[np.abs(bone.distance_mm(here)) < 1.0]
    assert np.percentile(slope, 99) < 1.1 and np.median(slope) > 0.8


def test_the_section_has_a_crest_at_the_front() -> None:
    shaft = Shaft((0.0, 0.0), 100.0, 10.0, 20.0, crest=0.6)
    directions = np.radians(np.arange(0.0, 360.0, 2.0))
    reach_mm = np.linspace(0.0, 30.0, 1501)
    reached = []
    for angle in directions:
        ray = np.zeros((reach_mm.size, 3), dtype=np.float32)
        ray[:, 0], ray[:, 1] = reach_mm * np.cos(angle), reach_mm * np.sin(angle)
        reached.append(reach_mm[np.argmax(shaft.distance_mm(ray) > 0)])
    # Corners at 90, 210 and 330 degrees.
    assert np.argmax(reached) % 60 == 45 and max(reached) > 1.25 * min(reached)
    assert max(reached) == pytest.approx(shaft.front_mm(np.zeros(1, np.float32))[0], abs=0.1)


def test_both_bones_lie_in_the_limb_with_the_asked_cover() -> None:
    limb = VirtualLongBone(LongBoneSettings(cover_mm=14.0))
    heights = np.linspace(-60.0, 60.0, 7, dtype=np.float32)
    x, _ = limb.main_bone.axis_mm(heights)
    crest = np.stack([x, limb.main_bone.front_mm(heights), heights], axis=1)
    depth = limb.depth_mm(crest)
    # 14 mm at the limb's front; beside it, where the limb curves back, less; the skin waves.
    assert np.all(depth < 16.0) and np.all(depth > 10.0)
    mesh = on_grid(limb, 9.0, 2.0).surface("bone")
    assert limb.depth_mm(mesh.vertices_mm).min() > 2.5
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    # The condyles reach 0.05 and the malleolus 0.15 of the end's radius beyond: 4.4 mm.
    assert high[2] - low[2] == pytest.approx(limb.settings.bone_length_mm + 4.4, abs=3.0)
    # The condyles are the widest part of the upper end: 2 * (0.6 + 0.5) of its radius.
    width = np.ptp(mesh.vertices_mm[mesh.vertices_mm[:, 2] > 92.0], axis=0)[0]
    assert width >= 2.2 * limb.settings.end_radius_mm - 2.0


def test_the_second_bone_can_be_left_out() -> None:
    both, alone = VirtualLongBone(), VirtualLongBone(LongBoneSettings(second_bone=False))
    x, y = both.second_bone.axis_mm(np.zeros(1, np.float32))
    axis = points((float(x[0]), float(y[0]), 0.0))
    assert both.bone_distance_mm(axis)[0] < -3.0 and alone.bone_distance_mm(axis)[0] > 3.0
    muscle = alone.properties(axis, 9.0).attenuation_db_cm[0]
    assert muscle == pytest.approx(TISSUES["muscle"].attenuation_at(9.0), rel=1e-3)


def test_limbs_of_a_population_differ_and_repeat() -> None:
    drawn = [LongBoneSettings.drawn(seed) for seed in range(20)]
    assert len({settings.radius_mm for settings in drawn}) == 20
    assert LongBoneSettings.drawn(4) == drawn[4]


def test_the_mri_shows_cortex_dark_and_marrow_bright() -> None:
    limb = VirtualLongBone(LongBoneSettings(mri_mm=1.5, bow_mm=0.0))
    front = limb.main_bone.front_mm(np.zeros(1, np.float32))[0]
    marrow, cortex, muscle, air = limb.mri().sample(
        points((0, 0, 0), (0, front - 2.2, 0), (-18, -18, 0), (40, front + 16, 0))
    )
    assert marrow > 130.0 and cortex < 60.0 and 70.0 < muscle < 130.0 and air < 20.0


def test_the_image_shows_bone_a_shadow_and_muscle() -> None:
    cell = make_cell("long_bone", "linear", 2, settings=CellSettings(grid_mm=1.5))
    middle = cell.image_count // 2
    T = cell.trajectory.poses(cell.image_times_s[[middle]])[0]
    level_db = cell.imager.beams_db(T)
    beams = cell.geometry.beam_points_mm.reshape(-1, 2)
    places = (T[:3, :2] @ beams.T + T[:3, 3:]).T.astype(np.float32)
    limb = make_patient("long_bone", 2)
    assert isinstance(limb, VirtualLongBone)
    bone = limb.bone_distance_mm(places).reshape(level_db.shape)
    hit = np.argmax(bone < 0, axis=1)
    seen = np.flatnonzero((bone < 0).any(axis=1))
    top = seen[np.argmin(hit[seen])]  # there the bone faces the probe
    echo = np.argmax(level_db[top, 40:]) + 40
    step_mm = cell.geometry.sample_step_mm
    assert abs(echo - hit[top]) * step_mm < 0.6
    shadow = level_db[top, hit[top] + 60 : hit[top] + 160]
    muscle = level_db[top, hit[top] - 40 : hit[top] - 15]
    assert np.median(muscle) - np.median(shadow) > 15.0
    # The wide probe's ends lose the curved skin.
    ends = cell.geometry.beam_points_mm[[0, -1], 0]
    faces = (T[:3, :2] @ ends.T + T[:3, 3:]).T
    assert limb.contact_distance_mm(faces).max() > 1.0
