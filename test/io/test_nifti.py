from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.io.nifti import read_nifti, write_nifti

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [20, -30, 40], degrees=True).as_matrix() * 0.7
OBLIQUE[:3, 3] = [-50.0, 12.0, 80.0]
MIRRORED = np.diag([-1.0, 1.0, 2.0, 1.0])
SHEARED = np.array([[1.0, 0.3, 0, 5], [0, 1, 0.2, 6], [0, 0, 1, 7], [0, 0, 0, 1]])


def save(path: Path, data: np.ndarray, affine: np.ndarray = OBLIQUE, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def ramp(shape: tuple[int, ...] = (3, 4, 5)) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@given(
    angles=hnp.arrays(np.float64, 3, elements=st.floats(-180, 180)),
    spacing=hnp.arrays(np.float64, 3, elements=st.floats(0.1, 5)),
    origin=hnp.arrays(np.float64, 3, elements=st.floats(-500, 500)),
    mirrored=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_round_trip_of_oblique_and_mirrored_affines(
    tmp_path: Path, angles: np.ndarray, spacing: np.ndarray, origin: np.ndarray, mirrored: bool
) -> None:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    T[:3, 0] *= -1.0 if mirrored else 1.0
    T[:3, 3] = origin
    path = tmp_path / "volume.nii.gz"
    write_nifti(path, Volume(ramp(), T))
    back = read_nifti(path)
    np.testing.assert_array_equal(back.data, ramp())
    np.testing.assert_allclose(back.T_space_index, T, atol=1e-4)  # the file holds float32
    assert np.sign(np.linalg.det(back.T_space_index[:3, :3])) == (-1 if mirrored else 1)


@pytest.mark.parametrize(
    "affine", [OBLIQUE, MIRRORED, SHEARED], ids=["oblique", "mirrored", "sheared"]
)
def test_a_voxel_lies_where_its_affine_says(tmp_path: Path, affine: np.ndarray) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", ramp(), affine))
    where = (affine @ [2.0, 3.0, 1.0, 1.0])[:3]
    # Voxel (2, 3, 1) of a 3 x 4 x 5 ramp holds 2 * 20 + 3 * 5 + 1 = 56.
    np.testing.assert_allclose(volume.sample(where[None]), [56.0], atol=1e-3)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0)])
def test_units_of_length_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", ramp(), np.diag([2.0, 2.0, 2.0, 1.0]), unit))
    np.testing.assert_allclose(volume.spacing_mm, [2.0 * factor] * 3)


def test_scaled_integers_are_unscaled(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full((2, 2, 2), 10, np.int16), OBLIQUE)
    image.header.set_slope_inter(0.5, 3.0)
    nib.save(image, tmp_path / "v.nii")
    raw = nib.load(tmp_path / "v.nii")
    expected = np.asarray(raw.dataobj)
    np.testing.assert_allclose(read_nifti(tmp_path / "v.nii").data, expected)


def test_a_single_volume_may_have_further_axes(tmp_path: Path) -> None:
    assert read_nifti(save(tmp_path / "v.nii", ramp((3, 4, 5, 1, 1)))).data.shape == (3, 4, 5)


def test_a_series_needs_an_index(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", ramp((3, 4, 5, 2)))
    with pytest.raises(InputError, match="2 volumes; choose one by its index, 0 to 1"):
        read_nifti(path)
    np.testing.assert_array_equal(read_nifti(path, index=1).data, ramp((3, 4, 5, 2))[..., 1])
    with pytest.raises(InputError, match="index is 2; expected 0 to 1"):
        read_nifti(path, index=2)


def test_unknown_voxels_stay_unknown(tmp_path: Path) -> None:
    data = ramp()
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    read = read_nifti(save(tmp_path / "v.nii", data)).data
    assert np.isnan(read[0, 0, 0]) and np.isnan(read[1, 1, 1]) and np.isnan(read).sum() == 2


@pytest.mark.parametrize(
    ("data", "affine", "message"),
    [
        (np.full((2, 2, 2), np.nan, np.float32), OBLIQUE, "no finite voxel"),
        (ramp((3, 4)), OBLIQUE, "expected a volume of three dimensions"),
        (ramp((3, 4, 5)).astype(np.complex64), OBLIQUE, "one number per voxel"),
        (ramp(), np.diag([1.0, 1.0, 0.0, 1.0]), "determinant 0"),
    ],
)
def test_what_is_no_volume_is_refused(
    tmp_path: Path, data: np.ndarray, affine: np.ndarray, message: str
) -> None:
    image = nib.Nifti1Image(data, None)
    image.set_sform(affine, code=1)
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(InputError, match=message):
        read_nifti(tmp_path / "v.nii")


def test_a_volume_without_a_place_in_space_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), np.eye(4))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(InputError, match="where it lies in space"):
        read_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 400, 600])
def test_truncated_files_are_named(tmp_path: Path, name: str, keep: int) -> None:
    rng = np.random.default_rng(0)
    path = save(tmp_path / name, rng.random((8, 8, 8)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"v\.nii"):
        read_nifti(path)


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    path.write_bytes(b"plain text, not gzip")
    with pytest.raises(InputError, match="not a NIfTI file"):
        read_nifti(path)
    with pytest.raises(InputError, match="does not exist"):
        read_nifti(tmp_path / "absent.nii")
