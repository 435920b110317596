"""`us-recon replay`: a second recording goes on from the map of a first one."""

import json
from pathlib import Path

import pytest

from us_recon.cli.main import main

SMALL = ["--sweep", "linear", "--length-mm", "6", "--image-rate-hz", "10", "--label-every", "1"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "scan"
    assert main(["simulate", "long_bone", *SMALL, "--seed", "2", "--out", str(folder)]) == 0
    return folder


def summary(folder: Path) -> dict[str, object]:
    return json.loads((folder / "mapping.json").read_text())


def test_a_map_goes_on_with_its_own_settings(scan: Path, tmp_path: Path) -> None:
    first, both = tmp_path / "first", tmp_path / "both"
    assert main(["replay", str(scan), "--out", str(first), "--spacing-mm", "1.5"]) == 0
    kept = (first / "map.npz").read_bytes()
    go_on = ["replay", str(scan), "--map", str(first / "map.npz"), "--out", str(both)]
    assert main(go_on) == 0
    assert summary(both)["frames"] == 2 * int(str(summary(first)["frames"]))
    assert (first / "map.npz").read_bytes() == kept


def test_a_bag_of_which_nothing_can_be_used_leaves_the_mesh_that_is_there(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["replay", str(scan), "--out", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    wrong = ["--transducer-frame", "elsewhere"]
    assert main(["replay", str(scan), "--out", str(out), *wrong]) == 2
    said = capsys.readouterr().err
    assert "none of" in said and "image_frame" in said and "expected 'elsewhere'" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_settings_beside_a_map_are_refused(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--map", str(tmp_path / "map.npz"), "--spacing-mm", "2.0"]
    assert main(["replay", str(scan), "--out", str(tmp_path / "out"), *given]) == 2
    assert "leave out spacing_mm" in capsys.readouterr().err
    assert main(["replay", str(scan), "--out", str(tmp_path / "out"), *given[:2]]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_field_settles_at_the_end_of_a_replay(scan: Path, tmp_path: Path) -> None:
    meshes = []
    for steps in ("0", "20"):
        out = tmp_path / steps
        told = ["--method", "field", "--settle-steps", steps]
        assert main(["replay", str(scan), "--out", str(out), *told]) == 0
        meshes.append((out / "mesh.ply").read_bytes())
    assert meshes[0] != meshes[1]
