from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.io.metaimage import read_metaimage
from us_recon.io.volumes import Frame, as_type, check_writable, read_volume, write_volume

T = np.array([[0.0, -2, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ENDINGS = [".nii", ".nii.gz", ".mha", ".nrrd"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("frame", list(Frame))
def test_every_format_gives_the_volume_back(tmp_path: Path, ending: str, frame: Frame) -> None:
    path = tmp_path / f"v{ending}"
    write_volume(path, Volume(DATA, T), frame, np.uint8)
    back = read_volume(path, frame)
    np.testing.assert_array_equal(back.data, DATA)
    np.testing.assert_allclose(back.T_space_index, T, atol=1e-6)


def test_a_patient_volume_is_stored_as_lps_and_a_frame_volume_as_it_is(tmp_path: Path) -> None:
    write_volume(tmp_path / "patient.mha", Volume(DATA, T), Frame.PATIENT)
    write_volume(tmp_path / "frame.mha", Volume(DATA, T), Frame.FILE)
    # RAS (5, 6, 7) is LPS (-5, -6, 7).
    assert read_metaimage(tmp_path / "patient.mha").fields["Offset"].split() == ["-5", "-6", "7"]
    assert read_metaimage(tmp_path / "frame.mha").fields["Offset"].split() == ["5", "6", "7"]


def test_an_nrrd_file_without_a_space_is_no_patient_volume(tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", Volume(DATA, T), Frame.FILE)
    with pytest.raises(InputError, match="does not name its space"):
        read_volume(tmp_path / "v.nrrd")


def test_integers_are_rounded_and_limited() -> None:
    values = np.array([[[-3.0, 0.4, 0.6, 254.6, 300.0, np.nan]]], dtype=np.float32)
    assert as_type(values, np.uint8).ravel().tolist() == [0, 0, 1, 255, 255, 0]


def test_unknown_endings_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown format; expected a name ending in \.nii"):
        check_writable(tmp_path / "v.tif")
    with pytest.raises(InputError, match=r"written as \.mha"):
        check_writable(tmp_path / "v.mhd")


def test_a_flat_image_is_no_volume(tmp_path: Path) -> None:
    path = tmp_path / "flat.mha"
    path.write_bytes(
        b"ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\n"
        b"ElementDataFile = LOCAL\n1234"
    )
    with pytest.raises(InputError, match="expected one value per voxel in 3-D"):
        read_volume(path)
