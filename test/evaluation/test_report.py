"""The report of a reconstruction, and the command that makes it."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from us_recon.cli.main import main
from us_recon.evaluation.mesh_metrics import score_mesh
from us_recon.evaluation.report import score_values, write_report
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mapper import OccupancyMapper
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


def test_completeness_of_the_side_that_the_map_beside_the_mesh_saw(
    tmp_path: Path, ball: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    # Depth along -y of the ball's frame from 40 mm off: its y > 0 side is seen, within 2 mm of z 0.
    truth = ball(20.0)
    geometry = ProbeGeometry.linear(50.0, 60.0, 50, 60)
    T = from_euler_xyz_deg(np.array([0.0, 40.0, 0.0]), np.array([180.0, 0.0, 0.0]))
    mapper = OccupancyMapper()
    mapper.integrate(TrackedFrame(0, np.zeros((60, 50), np.uint8), T, geometry))
    mapper.save(tmp_path / "map.npz")
    write_mesh(truth, tmp_path / "mesh.ply")
    write_mesh(truth, tmp_path / "truth.ply")
    paths = [str(tmp_path / "mesh.ply"), "--truth", str(tmp_path / "truth.ply")]
    assert main(["evaluate", "mesh", *paths, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["completeness_of"] == "visible side of the truth"
    # A zone 4 mm high of a sphere has 4 / 40 of its area; of its turn, 160 of 360 degrees are seen.
    assert values["truth_visible"] == pytest.approx(0.1 * 160 / 360, abs=0.002)
    assert values["region_mm"] == 15.0


def test_command_names_what_is_wrong(
    tmp_path: Path, ball: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mesh(ball(20.0), tmp_path / "truth.stl")
    truth = str(tmp_path / "truth.stl")
    assert main(["evaluate", "mesh", "absent.ply", "--truth", truth]) == 2
    assert "absent.ply: no such file" in capsys.readouterr().err
    assert main(["evaluate", "mesh", truth, "--truth", truth, "--region-mm", "0"]) == 2
    assert "--region-mm is 0.0" in capsys.readouterr().err
