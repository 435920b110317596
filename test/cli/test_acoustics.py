"""`us-recon acoustics` writes what the functions make, and says what is wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from us_recon.acoustics.tissues import TISSUES
from us_recon.acoustics.virtual_heads import virtual_head
from us_recon.cli.main import main as us_recon
from us_recon.imaging.volume import Volume
from us_recon.io.acoustic_volumes import read_acoustic_volume
from us_recon.io.nifti import write_nifti


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.nii.gz"
    data = np.tile(np.float32([0, 1, 2, 2])[:, None, None], (1, 4, 4))
    write_nifti(path, Volume(data, np.eye(4)))
    return path


def test_an_mri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mri, out, picture = tmp_path / "t1.nii.gz", tmp_path / "out.nii.gz", tmp_path / "out.png"
    write_nifti(mri, virtual_head("t1", 1005, crop="front").volume)
    command = ["acoustics", str(mri), "--contrast", "t1", "--out", str(out)]
    assert us_recon([*command, "--picture", str(picture)]) == 0
    made = read_acoustic_volume(out)
    assert 1.55 < float(made.impedance_mrayl.median()) < 1.63
    drawn = cv2.imread(str(picture))
    assert drawn.shape[0] > 500 and drawn.std() > 20
    assert "impedance_mrayl" in capsys.readouterr().out
    assert us_recon(["acoustics", str(mri), "--contrast", "flair", "--out", str(out)]) == 2
    assert "another contrast" in capsys.readouterr().err


@pytest.mark.parametrize("as_file", [False, True])
def test_labels(labels: Path, tmp_path: Path, as_file: bool) -> None:
    names = "0=unknown 1=csf 2=liver"
    if as_file:
        names = str(tmp_path / "names.json")
        Path(names).write_text(json.dumps({"0": "unknown", "1": "csf", "2": "liver"}))
    out = tmp_path / "out.nii"
    assert us_recon(["acoustics", str(labels), "--labels", names, "--out", str(out)]) == 0
    made = read_acoustic_volume(out)
    assert float(made.scatter[3, 0, 0]) == pytest.approx(TISSUES["liver"].scatter)
    assert float(made.inside.mean()) == 0.75


def test_a_ct(tmp_path: Path) -> None:
    ct, out = tmp_path / "ct.nii", tmp_path / "out.nii"
    data = np.tile(np.float32([-1000, 40, 1000])[:, None, None], (1, 3, 3))
    write_nifti(ct, Volume(data, np.eye(4)))
    assert us_recon(["acoustics", str(ct), "--ct", "--out", str(out)]) == 0
    assert float(read_acoustic_volume(out).impedance_mrayl.max()) == pytest.approx(6.09, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "0=air 1=csf", "--out", "o.nii"], "labels 2 have no tissue"),
        (["--labels", "0=air 1=csf 2=brain", "--out", "o.nii"], "tissues brain are not in"),
        (["--labels", "none.json", "--out", "o.nii"], "expected '1=csf"),
        (["--labels", "a=csf", "--out", "o.nii"], "expected '1=csf"),
        (["--ct", "--out", "o.mha"], "written as .nii"),
        (["--ct", "--out", "o.nii", "--lesion", "m.nii"], "--lesion needs an MRI"),
        (["--ct", "--out", "o.nii", "--picture", "p.jpg"], "written as .png"),
        (["--contrast", "t1", "--out", "o.nii"], "measures 4 x 4 x 4 mm"),
    ],
)
def test_what_is_wrong_is_said(
    labels: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert us_recon(["acoustics", str(labels), *options]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not Path("o.nii").exists()
