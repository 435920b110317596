from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.io.landmarks import read_tag_pairs, read_tag_points, write_tag_pairs

TAG = """MNI Tag Point File
Volumes = 2;
% a comment

Points =
 1 2 3 4 5 6 ""
 -1.5 2e1 0 0.25 0 7 "the second; one"
 0 0 0 1 1 1 "";
"""


def test_pairs_of_points(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tag"
    path.write_text(TAG)
    first, second = read_tag_pairs(path)
    np.testing.assert_array_equal(first, [[1, 2, 3], [-1.5, 20, 0], [0, 0, 0]])
    np.testing.assert_array_equal(second, [[4, 5, 6], [0.25, 0, 7], [1, 1, 1]])


def test_pairs_that_were_written_are_read(tmp_path: Path) -> None:
    first = np.array([[1.0, -2.5, 3.25], [1e-3, 0.0, 7.0]])
    write_tag_pairs(tmp_path / "deep" / "out.tag", first, first + 1.5, "one, other")
    read = read_tag_pairs(tmp_path / "deep" / "out.tag")
    np.testing.assert_allclose(read, (first, first + 1.5), atol=5e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not an MNI tag point file"),
        (TAG.replace("Volumes = 2", "Volumes = 1"), "expected 'Volumes = 2;'"),
        (TAG.replace("4 5 6", "4 5"), "does not begin with six numbers"),
        (TAG.replace("4 5 6", "4 five 6"), "does not begin with six numbers"),
        ("MNI Tag Point File\nVolumes = 2;\nPoints = ;\n", "holds no point"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pairs.tag"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_tag_pairs(path)


def test_the_landmarks_of_a_patient(data_dir: Path) -> None:
    mri, us = read_tag_pairs(data_dir / "resect_case24" / "Case24-MRI-beforeUS.tag")
    assert mri.shape == us.shape == (16, 3)
    # Published with the recording: a mean distance of 1.10 mm.
    assert np.linalg.norm(mri - us, axis=1).mean() == pytest.approx(1.10, abs=0.005)


@pytest.mark.parametrize("volumes", [1, 2])
def test_points_of_the_first_volume(tmp_path: Path, volumes: int) -> None:
    rows = ["1 2 3", "-1.5 2e1 0"] if volumes == 1 else ["1 2 3 9 9 9", "-1.5 2e1 0 9 9 9"]
    path = tmp_path / "points.tag"
    path.write_text(
        f"MNI Tag Point File\nVolumes = {volumes};\n\nPoints =\n" + "\n".join(rows) + ";\n"
    )
    np.testing.assert_array_equal(read_tag_points(path), [[1, 2, 3], [-1.5, 20, 0]])
