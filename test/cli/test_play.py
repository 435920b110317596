import sys
from pathlib import Path

import numpy as np
import pytest

from us_recon.cli.main import main as us_recon
from us_recon.imaging.events import ImageEvent
from us_recon.io.bag import write_bag


def test_without_ros_the_user_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bag", [ImageEvent(1, np.zeros((2, 2), np.uint8))])
    monkeypatch.setitem(sys.modules, "us_recon.ros.player", None)
    assert us_recon(["play", str(tmp_path / "bag")]) == 2
    assert "play needs ROS 2" in " ".join(capsys.readouterr().err.split())


def test_a_broken_bag_is_reported_before_ros_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "us_recon.ros.player", None)
    assert us_recon(["play", str(tmp_path / "absent")]) == 2
    assert "is not a bag" in " ".join(capsys.readouterr().err.split())
