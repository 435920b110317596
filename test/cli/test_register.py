"""`us-recon register` on a bag whose images are made from a small made-up MRI."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from us_recon.cli.main import main as us_recon
from us_recon.cli.register import DEFORMED_FILE, NOT_TRUSTED
from us_recon.cli.transforms import parse_initial
from us_recon.errors import InputError
from us_recon.geometry.rigid import exp_se3, make_rigid, transform_points
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.io.bag import write_bag
from us_recon.io.landmarks import write_tag_pairs
from us_recon.io.nifti import read_nifti, write_nifti
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import write_mesh

PROBE = ProbeGeometry.linear(width_mm=24.0, depth_mm=24.0, width_px=48, height_px=48)
T_WORLD_MRI = make_rigid(np.eye(3), np.array([30.0, -5.0, 8.0]))
OPTIONS = ["--capture-mm=8", "--capture-deg=8", "--start-count=128", "--refine-count=12",
           "--candidate-count=8", "--min-area-mm2=500", "--near-field-mm=0"]  # fmt: skip


def made_up_mri() -> Volume:
    noise = gaussian_filter(np.random.default_rng(3).standard_normal((44, 44, 44)), 2.0)
    affine = np.eye(4)
    affine[:3, 3] = -21.5
    return Volume((1000.0 + 300.0 * noise / noise.std()).astype(np.float32), affine)


def acquisition(mri: Volume) -> Iterator[AcquisitionEvent]:
    """Five images, 0.1 s apart; the probe tilts and slides over the middle of the MRI."""
    plane = np.pad(PROBE.pixels_to_mm(PROBE.pixel_grid), ((0, 0), (0, 0), (0, 1)))
    yield GeometryEvent(1_000_000_000, PROBE)
    yield PoseEvent(1_000_000_000, np.eye(4), "probe", "transducer", static=True)
    for number, step in enumerate(np.linspace(-1.0, 1.0, 5)):
        tilt = Rotation.from_euler("x", 12.0 * step, degrees=True).as_matrix()
        T_mri_transducer = make_rigid(tilt, np.array([0.5, -12.0, 4.0 * step]))
        values = mri.sample(transform_points(T_mri_transducer, plane), fill=1000.0)
        image = np.clip(np.rint(120.0 - 0.1 * (values - 1000.0)), 10, 255).astype(np.uint8)
        stamp_ns = 1_000_000_000 + number * 100_000_000
        yield PoseEvent(stamp_ns, T_WORLD_MRI @ T_mri_transducer)
        yield ImageEvent(stamp_ns, image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bag, its MRI, that MRI flipped, and a guess 3.5 mm and 4 degrees off."""
    path = tmp_path_factory.mktemp("register")
    mri = made_up_mri()
    write_nifti(path / "mri.nii.gz", mri)
    flipped = np.ascontiguousarray(mri.data[::-1, ::-1, ::-1])
    write_nifti(path / "flipped.nii.gz", Volume(flipped, mri.T_space_index))
    write_bag(path / "bag", acquisition(mri))
    guess = T_WORLD_MRI @ exp_se3(np.array([2.0, -2.5, 1.5, 0.04, -0.05, 0.03]))
    (path / "guess.json").write_text(json.dumps({"guess": guess.tolist(), "seed": 3}))
    return path


def register(folder: Path, mri: str, initial: str, *options: str) -> int:
    fixed = ["register", str(folder / "bag"), "--mri", str(folder / mri), "--out",
             str(folder / "out"), f"--initial={initial}"]  # fmt: skip
    return us_recon([*fixed, *OPTIONS, *options])


def test_a_registered_mri_is_written_with_a_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(folder, "mri.nii.gz", f"{folder / 'guess.json'}:guess") == 0
    assert "trusted: registered" in capsys.readouterr().out
    result = json.loads((folder / "out" / "registration.json").read_text())
    np.testing.assert_allclose(result["T_world_mri"], T_WORLD_MRI, atol=0.2)
    assert result["trusted"] and result["frames"] == 5 and result["images"] == 5
    assert (folder / "out" / "registration.png").stat().st_size > 5000

    # The result is a guess for the next run; that run compares with no other pose.
    again = str(folder / "out" / "registration.json")
    assert register(folder, "mri.nii.gz", again, "--start-count=0") == NOT_TRUSTED
    assert "no other pose was compared" in capsys.readouterr().out


def test_landmark_pairs_are_a_first_guess(folder: Path) -> None:
    points = np.array([[0.0, 0.0, 0.0], [15.0, 0.0, 0.0], [0.0, 15.0, 0.0], [0.0, 0.0, 15.0]])
    off = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, -1.0]])
    write_tag_pairs(folder / "pairs.tag", points, transform_points(T_WORLD_MRI, points) + off)
    arguments = ["register", str(folder / "bag"), "--mri", str(folder / "mri.nii.gz"), "--out",
                 str(folder / "out"), "--landmarks", str(folder / "pairs.tag")]  # fmt: skip
    assert us_recon([*arguments, *OPTIONS]) == 0
    result = json.loads((folder / "out" / "registration.json").read_text())
    np.testing.assert_allclose(result["T_world_mri"], T_WORLD_MRI, atol=0.2)


def test_a_wrong_mri_is_not_trusted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert register(folder, "flipped.nii.gz", "30,-5,8,0,0,0") == NOT_TRUSTED
    assert "not trusted" in capsys.readouterr().out
    assert not json.loads((folder / "out" / "registration.json").read_text())["trusted"]


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ("1,2,3", "neither x,y,z,rx,ry,rz nor a JSON file"),
        ("1,2,3,a,b,c", "expected six numbers"),
        ("1,2,3,nan,0,0", "not a rigid transform"),
        ("{folder}/guess.json", "has no 'T_world_mri'; it has guess, seed"),
        ("{folder}/guess.json:seed", "shape (); expected a 4x4 matrix"),
        ("{folder}/mri.nii.gz", "nor a JSON file"),
    ],
)
def test_a_guess_that_cannot_be_read_is_named(folder: Path, initial: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        parse_initial(initial.format(folder=folder))
    assert words in str(error.value)


def test_six_numbers_are_millimetres_and_degrees() -> None:
    # 90 degrees about z: x goes to y.
    T = parse_initial("1,2,3,0,0,90")
    np.testing.assert_allclose(T @ [1.0, 0, 0, 1], [1.0, 3.0, 3.0, 1.0], atol=1e-12)


def test_too_few_poses_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert register(folder, "mri.nii.gz", "30,-5,8,0,0,0", "--keyframe-distance-mm=50") == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "1 different poses among 5 frames; expected 3 or more" in text


def test_a_bag_of_which_nothing_can_be_used_is_told_with_its_reasons(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(folder, "mri.nii.gz", "30,-5,8,0,0,0", "--transducer-frame=elsewhere") == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "none of 5 images can be used" in text and "expected 'elsewhere'" in text


@pytest.fixture
def surfaces(folder: Path) -> list[str]:
    """A lopsided body segmented in the MRI, and the half of it that was mapped."""
    sphere = o3d.geometry.TriangleMesh.create_sphere(1.0, resolution=40)
    vertices = np.asarray(sphere.vertices) * [20.0, 12.0, 8.0]
    vertices[:, 2] += 0.004 * vertices[:, 0] ** 2 + 0.1 * np.maximum(vertices[:, 1], 0.0) ** 1.5
    triangles = np.asarray(sphere.triangles).astype(np.int32)
    write_mesh(Mesh(vertices.astype(np.float32), triangles), folder / "bone.stl")
    world = transform_points(T_WORLD_MRI, vertices).astype(np.float32)
    seen = triangles[(vertices[triangles][..., 2] > -1.0).all(axis=1)]
    write_mesh(Mesh(world, seen), folder / "map.ply")
    return [f"--surface={folder / 'map.ply'}", f"--mri-surface={folder / 'bone.stl'}"]


def test_surfaces_improve_the_first_guess(folder: Path, surfaces: list[str]) -> None:
    # The guess is 13 mm off; without the surfaces the search of 8 mm could not reach the truth.
    assert register(folder, "mri.nii.gz", "42,-10,8,0,0,8", *surfaces) == 0
    result = json.loads((folder / "out" / "registration.json").read_text())
    np.testing.assert_allclose(result["T_world_mri_initial"], T_WORLD_MRI, atol=0.5)
    np.testing.assert_allclose(result["T_world_mri"], T_WORLD_MRI, atol=0.2)


def test_one_surface_alone_is_an_error(
    folder: Path, surfaces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(folder, "mri.nii.gz", "42,-10,8,0,0,8", surfaces[0]) == 2
    assert "--surface and --mri-surface belong together" in capsys.readouterr().err


def test_surfaces_that_do_not_fit_are_refused(
    folder: Path, surfaces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*surfaces, "--surface-max-residual-mm=0.1", "--surface-starts=1"]
    assert register(folder, "mri.nii.gz", "72,-60,8,40,0,80", *options) == 2
    assert "the surfaces do not fit" in capsys.readouterr().err


def test_an_mri_that_fits_is_not_deformed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guess = f"{folder / 'guess.json'}:guess"
    assert register(folder, "mri.nii.gz", guess, "--deform") == 0
    assert "not deformed: the images show no deformation" in capsys.readouterr().out
    assert not (folder / "out" / DEFORMED_FILE).exists()
    said = json.loads((folder / "out" / "registration.json").read_text())["deformation"]
    assert said["believed"] is False and said["score"] >= said["rigid_score"]


def test_an_mri_of_before_the_brain_shifted_is_deformed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mri = made_up_mri()
    # Half of the brain has moved by 2 mm: smoothly, from nothing at x = -12 mm.
    index = np.indices(mri.data.shape).astype(float)
    moved_mm = 2.0 / (1.0 + np.exp(-(index[0] - 21.5) / 4.0))
    data = map_coordinates(mri.data, [index[0], index[1] - moved_mm, index[2]], mode="nearest")
    write_nifti(folder / "before.nii.gz", Volume(data, mri.T_space_index))
    guess = f"{folder / 'guess.json'}:guess"
    options = ("--deform", "--control-spacing-mm=8", "--smooth-mm=15")
    assert register(folder, "before.nii.gz", guess, *options) == 0
    assert "deformed by up to" in capsys.readouterr().out
    after = read_nifti(folder / "out" / DEFORMED_FILE)
    imaged = (slice(14, 30), slice(12, 32), slice(19, 25))
    # Up to the rigid pose, which takes its part of the shift.
    result = json.loads((folder / "out" / "registration.json").read_text())
    T_index_index = (
        after.T_index_space @ np.linalg.inv(np.array(result["T_world_mri"])) @ T_WORLD_MRI
        @ mri.T_space_index
    )  # fmt: skip

    def unlike(volume: Volume) -> float:
        where = transform_points(T_index_index, index.reshape(3, -1).T).T
        there = map_coordinates(volume.data, where, order=1, cval=np.nan).reshape(mri.data.shape)
        return float(np.nanmean(np.abs(there - mri.data)[imaged]))

    assert unlike(after) < 0.6 * unlike(Volume(data, mri.T_space_index))
