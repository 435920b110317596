"""The report of a reconstruction, and the command that makes it."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from us_recon.cli.main import main
from us_recon.evaluation.mesh_metrics import score_mesh
from us_recon.evaluation.report import score_values, write_report
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import write_mesh

Maker = Callable[..., Mesh]


def test_report_has_figures_and_pictures(tmp_path: Path, ball: Maker) -> None:
    truth, found = ball(20.0), ball(21.0)
    write_report(tmp_path / "report", "a ball", score_mesh(found, truth), found, truth)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| median | 1.00 mm |" in text
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values["chamfer_mm"] == pytest.approx(1.0, abs=0.01)
    assert values["completeness_of"] == "whole truth"
    assert cv2.imread(str(tmp_path / "report" / "meshes.png")).std() > 10


def test_report_of_nothing(tmp_path: Path, ball: Maker) -> None:
    truth = ball(20.0)
    write_report(tmp_path, "nothing", score_mesh(Mesh.empty(), truth), Mesh.empty(), truth)
    assert "no surface near the truth" in (tmp_path / "report.md").read_text()
    assert score_values(score_mesh(Mesh.empty(), truth))["chamfer_mm"] is None


def test_command_prints_json(
    tmp_path: Path, ball: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mesh(ball(20.5), tmp_path / "mesh.ply")
    write_mesh(ball(20.0), tmp_path / "truth.stl")
    paths = [str(tmp_path / "mesh.ply"), "--truth", str(tmp_path / "truth.stl")]
    assert main(["evaluate", "mesh", *paths, "--region-mm", "15", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["reconstruction_to_truth"]["median_mm"] == pytest.approx(0.5, abs=0.01)
    assert values["completeness_within_2mm"] == 1.0
    assert main(["evaluate", "mesh", *paths, "--report", str(tmp_path / "report")]) == 0
    assert "median" in capsys.readouterr().out
    assert (tmp_path / "report" / "meshes.png").is_file()


def test_command_names_what_is_wrong(
    tmp_path: Path, ball: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mesh(ball(20.0), tmp_path / "truth.stl")
    truth = str(tmp_path / "truth.stl")
    assert main(["evaluate", "mesh", "absent.ply", "--truth", truth]) == 2
    assert "absent.ply: no such file" in capsys.readouterr().err
    assert main(["evaluate", "mesh", truth, "--truth", truth, "--region-mm", "0"]) == 2
    assert "--region-mm is 0.0" in capsys.readouterr().err
