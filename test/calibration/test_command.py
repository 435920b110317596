"""`us-recon calibrate` on a bag whose latency is known."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from us_recon.cli.main import main as us_recon
from us_recon.io.bag import write_bag


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, recorded: Any) -> Path:
    """A recording whose images are stamped 60 ms late."""
    path = tmp_path_factory.mktemp("calibrate") / "bag"
    write_bag(path, recorded(0.06))
    return path


def test_the_latency_is_printed_with_what_to_set_and_drawn(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "latency.png"
    options = ["--max-latency-s=0.2", f"--picture={picture}"]
    assert us_recon(["calibrate", "time", str(bag), *options]) == 0
    printed = capsys.readouterr().out
    assert "images are stamped 6" in printed or "images are stamped 5" in printed
    assert "set image_time_offset_s: -0.0" in printed
    image = cv2.imread(str(picture))
    assert image is not None and min(image.shape[:2]) > 500 and image.std() > 10.0


def test_a_check_as_json_tells_the_timing(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert us_recon(["calibrate", "check", str(bag), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["verdict"] == "bad" and checks["timing"]["verdict"] == "bad"
    assert report["latency_s"] == pytest.approx(0.06, abs=0.006)
    assert checks["calibration"]["verdict"] == "good"
    assert checks["mirrored"]["verdict"] == "good"


def test_a_bag_without_images_is_told(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert us_recon(["calibrate", "time", str(bag), "--image-topic=/other"]) == 2
    assert "has no topic '/other' of images" in capsys.readouterr().err
