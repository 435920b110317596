"""A patient made of a user's volume: balls whose surfaces are known."""

import inspect
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from scipy.special import erf

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.volume import Volume
from us_recon.simulation.catalogue import make_patient
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.patients.user_volume import VolumePatient, VolumeSettings
from us_recon.simulation.patients.volume_approach import check_volume, holds_labels
from us_recon.simulation.patients.volume_tissues import parse_tissues
from us_recon.simulation.scene import Scene, on_grid

VOXEL_MM = 1.2
BODY_MM, BONE_MM = 42.0, 15.0
ORIGIN = np.array([-57.0, -160.0, 40.0])
CENTRE = ORIGIN + 47.5 * VOXEL_MM
BONE = CENTRE + np.array([4.0, 14.0, -2.0])


def radii() -> tuple[np.ndarray, np.ndarray]:
    """Return every voxel's distance to the middle of the body and of the bone."""
    index = np.stack(np.meshgrid(*[np.arange(96)] * 3, indexing="ij"), axis=-1)
    places = ORIGIN + VOXEL_MM * index
    return np.linalg.norm(places - CENTRE, axis=-1), np.linalg.norm(places - BONE, axis=-1)


def affine() -> np.ndarray:
    T = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    T[:3, 3] = ORIGIN
    return T


def ct() -> Volume:
    """Return a ball of bone (460 HU) in a ball of soft tissue (40 HU) in air, with noise."""
    body, bone = radii()
    # Steps blurred by half a voxel, as a scanner's are: 250 HU is halfway into bone.
    inside = [0.5 - 0.5 * erf((r - R) / (0.5 * VOXEL_MM * np.sqrt(2.0))) for r, R in
              ((body, BODY_MM), (bone, BONE_MM))]  # fmt: skip
    hu = -1000.0 + 1040.0 * inside[0] + 420.0 * inside[1]
    hu += np.random.default_rng(0).normal(0.0, 12.0, hu.shape)
    return Volume(hu.astype(np.float32), affine())


def labels() -> Volume:
    body, bone = radii()
    data = np.where(bone < BONE_MM, 7.0, np.where(body < BODY_MM, 3.0, 0.0))
    return Volume(data.astype(np.float32), affine())


LABEL_SETTINGS = VolumeSettings(tissues="7=bone, 3=muscle")


@pytest.fixture(scope="module", params=["hu", "labels"])
def patient(request: pytest.FixtureRequest) -> VolumePatient:
    if request.param == "hu":
        return VolumePatient(ct())
    return VolumePatient(labels(), LABEL_SETTINGS)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> ScanningCell:
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    volume = ct()
    nibabel.loadsave.save(nibabel.nifti1.Nifti1Image(volume.data, volume.T_space_index), path)
    settings = CellSettings(grid_mm=1.0)
    return make_cell("volume", "linear", 1, settings=settings, patient={"file": str(path)})


def test_it_is_a_scene(patient: VolumePatient) -> None:
    assert isinstance(patient, Scene)
    assert patient.solids[0] == patient.target == "bone" and not patient.target_is_solid
    assert patient.interfaces[0].name == "skin" and len(patient.interfaces) <= 7
    assert patient.mri() is patient.volume


def test_the_bones_surface_is_recovered(patient: VolumePatient) -> None:
    mesh = on_grid(patient, 5.0, 1.0).surface("bone")
    radius = np.linalg.norm(mesh.vertices_mm - BONE, axis=1)
    assert radius.mean() == pytest.approx(BONE_MM, abs=0.3 * VOXEL_MM)
    assert np.percentile(np.abs(radius - BONE_MM), 95) < 0.5 * VOXEL_MM


def test_the_scan_starts_at_the_skin_in_front(patient: VolumePatient) -> None:
    T = patient.T_scene_approach
    np.testing.assert_allclose(T[:3, 1], [0.0, -1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(T[:3, 2], [0.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], CENTRE + np.array([0.0, BODY_MM + 1.5, 0.0]), atol=1.0)
    skin = CENTRE + BODY_MM * np.array([[0.0, 1.0, 0.0], [0.5, np.sqrt(0.75), 0.0]])
    assert np.abs(patient.contact_distance_mm(skin)).max() < 0.5 * VOXEL_MM
    off = skin + 6.0 * (skin - CENTRE) / BODY_MM
    np.testing.assert_allclose(patient.contact_distance_mm(off), 6.0, atol=0.7)


def test_the_approach_can_be_given() -> None:
    given = VolumeSettings(
        approach_mm=(CENTRE[0] + 60.0, CENTRE[1], CENTRE[2]),
        aim_mm=tuple(CENTRE),
        along=(0.0, 1.0, 0.5),
    )
    T = VolumePatient(ct(), given).T_scene_approach
    np.testing.assert_allclose(T[:3, 1], [-1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(T[:3, 2], np.array([0.0, 1.0, 0.5]) / np.sqrt(1.25), atol=1e-9)
    np.testing.assert_allclose(T[:3, 3], CENTRE + np.array([BODY_MM + 1.5, 0.0, 0.0]), atol=1.0)
    # A point inside the patient is moved back to the skin.
    inside = VolumeSettings(
        approach_mm=(CENTRE[0] + 30.0, CENTRE[1], CENTRE[2]), aim_mm=tuple(CENTRE)
    )
    np.testing.assert_allclose(
        VolumePatient(ct(), inside).T_scene_approach[:3, 3], T[:3, 3], atol=1
    )


def test_the_image_shows_bone_and_its_shadow(cell: ScanningCell) -> None:
    # Straight in front of the bone's middle.
    middle = int(np.argmin(np.abs(cell.trajectory.poses(cell.image_times_s)[:, 2, 3] - BONE[2])))
    T = cell.trajectory.poses(cell.image_times_s[[middle]])[0]
    level_db = cell.imager.beams_db(T)
    step_mm = cell.geometry.sample_step_mm
    ends = T[:3, :2] @ cell.geometry.beam_points_mm[:, 0].T + T[:3, 3:]
    beam = int(np.argmin(np.linalg.norm(ends[[0, 2]].T - BONE[[0, 2]], axis=1)))
    deep = np.linalg.norm(ends[:, beam] - BONE) - BONE_MM
    assert np.argmax(level_db[beam, 40:]) + 40 == pytest.approx(deep / step_mm, abs=1.0 / step_mm)
    hit = round(deep / step_mm)
    assert np.median(level_db[beam, hit - 60 : hit - 15]) > 12.0 + np.median(
        level_db[beam, hit + 60 : hit + 160]
    )


def test_gas_inside_blocks_and_air_around_does_not() -> None:
    volume = ct()
    _, bone = radii()
    data = np.where(bone < BONE_MM, np.float32(-900.0), volume.data)
    patient = VolumePatient(Volume(data, volume.T_space_index))
    assert patient.solids == ("air", "skin")
    assert {i.name for i in patient.interfaces if i.blocks} == {"air"}
    grid = on_grid(patient, 5.0, 1.0)
    radius = np.linalg.norm(grid.surface("air").vertices_mm - BONE, axis=1)
    assert radius.mean() == pytest.approx(BONE_MM, abs=0.6 * VOXEL_MM)
    assert radius.max() < BONE_MM + 3.0


def test_a_volume_that_is_cut_off_in_the_patient_ends_without_gas() -> None:
    volume = ct()
    data = volume.data.copy()
    data[:, :80] = 40.0 + np.random.default_rng(1).normal(0.0, 12.0, data[:, :80].shape)
    patient = VolumePatient(Volume(data, volume.T_space_index), VolumeSettings(width_mm=60.0))
    deepest = patient.bounds_mm[0][1]
    assert deepest < ORIGIN[1] - 5.0  # the box reaches beyond the volume
    assert patient.solids == ("skin",)


def test_a_soft_organ_of_labels_is_marked_as_a_whole() -> None:
    settings = VolumeSettings(tissues="7=liver,3=fat")
    patient = VolumePatient(labels(), settings)
    assert patient.target == "liver" and patient.target_is_solid
    inside = patient.properties(BONE[None].astype(np.float32), 5.0)
    assert inside.attenuation_db_cm[0] == pytest.approx(0.5 * 5.0, rel=0.01)


def test_what_the_voxels_hold_is_seen() -> None:
    assert holds_labels(labels().data) and not holds_labels(ct().data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7=bonny,3=muscle", "'bonny'; expected one of outside, .*bone"),
        ("bone=7", "expected label=tissue"),
        ("7=bone", "nothing of label 3"),
    ],
)
def test_bad_tissues_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VolumePatient(labels(), VolumeSettings(tissues=text))


def test_tissues_are_read() -> None:
    assert parse_tissues(" 1=bone, 2 = liver,0=outside,") == {1: "bone", 2: "liver", 0: "outside"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((9, 9, 9), 3.0, np.float32), "3 everywhere"),
        (np.where(np.arange(729).reshape(9, 9, 9) == 5, np.nan, 1.0), "1 voxels that are not"),
        (np.zeros((9, 9, 0), np.float32), "expected 4 voxels or more"),
        (np.zeros((9, 9, 9, 2), np.float32), "4 dimensions"),
    ],
)
def test_bad_volumes_are_refused(data: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        # A Volume's own types would refuse some of these before.
        inspect.unwrap(check_volume)(SimpleNamespace(data=data))


def test_bad_approaches_are_refused() -> None:
    beside = VolumeSettings(approach_mm=(300.0, 0.0, 0.0), aim_mm=(300.0, 50.0, 0.0))
    with pytest.raises(InputError, match=r"does not enter the patient; the volume reaches from"):
        VolumePatient(ct(), beside)
    with pytest.raises(ConfigError, match="direction of sight"):
        VolumePatient(ct(), VolumeSettings(along=(0.0, 1.0, 0.0)))


def test_a_file_is_needed() -> None:
    with pytest.raises(ConfigError, match="needs a file"):
        make_patient("volume", 0)
