import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from us_recon.cli.main import main as us_recon
from us_recon.io.bag import frames_from_bag, truth_folder

HEADER = """\
ObjectType = Image
NDims = 3
DimSize = 3 2 3
ElementType = MET_UCHAR
UltrasoundImageOrientation = MF
{frames}ElementDataFile = LOCAL
"""
CONFIG = """\
<PlusConfiguration version="2.1"><CoordinateDefinitions>
  <Transform From="Image" To="Probe" Matrix="0.25 0 0 10  0 0.5 0 20  0 0 0.3 30  0 0 0 1" />
</CoordinateDefinitions></PlusConfiguration>
"""


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Three frames; the tracker lost the probe in the middle one."""
    frames = ""
    for number, status in enumerate(("OK", "INVALID", "OK")):
        name = f"Seq_Frame000{number}"
        matrix = f"1 0 0 {number + 1} 0 1 0 0 0 0 1 0 0 0 0 1"
        frames += f"{name}_ProbeToTrackerTransform = {matrix}\n"
        frames += f"{name}_ProbeToTrackerTransformStatus = {status}\n"
        frames += f"{name}_Timestamp = {10 + number / 10}\n"
    path = tmp_path / "tiny.igs.mha"
    path.write_bytes(HEADER.format(frames=frames).encode() + bytes(range(18)))
    (tmp_path / "config.xml").write_text(CONFIG)
    return path


def convert(sequence: Path, *arguments: str) -> int:
    config, bag = sequence.with_name("config.xml"), sequence.with_name("bag")
    fixed = ["convert", "plus", str(sequence), "--config", str(config), "--out", str(bag)]
    return us_recon([*fixed, *arguments])


def test_an_image_the_tracker_lost_never_gets_a_pose(
    sequence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(sequence) == 0
    assert "1 images without a valid pose: left out" in capsys.readouterr().out
    bag = sequence.with_name("bag")
    assert [frame.stamp_ns for frame in frames_from_bag(bag)] == [10_000_000_000, 10_200_000_000]
    assert (truth_folder(bag) / "config.xml").is_file()


def test_inspect_says_what_is_in_a_bag(sequence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(sequence, "--storage", "sqlite3") == 0
    capsys.readouterr()
    assert us_recon(["inspect", str(sequence.with_name("bag")), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == {"images": 2, "usable": 2, "drops": {}}
    assert report["images"]["sizes"] == {"3 x 2": 2}
    assert report["geometries"][0]["spacing_x_mm"] == pytest.approx(0.25)
    assert [t["child"] for t in report["transforms"]] == ["transducer", "probe"]
    assert report["findings"] == []
    assert us_recon(["inspect", str(sequence.with_name("bag"))]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 images get a pose" in text and "linear, 0.8 mm wide" in text


def test_inspect_returns_one_where_nothing_can_be_used(
    sequence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(sequence) == 0
    bag = str(sequence.with_name("bag"))
    assert us_recon(["inspect", bag, "--transducer-frame", "elsewhere"]) == 1
    assert "blocker: 2 left out, image_frame" in " ".join(capsys.readouterr().out.split())


def test_a_bag_is_not_overwritten_by_accident(
    sequence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(sequence) == 0
    assert convert(sequence) == 2
    assert "exists already" in " ".join(capsys.readouterr().err.split())
    assert convert(sequence, "--overwrite") == 0


def test_a_leg_recording(tmp_path: Path) -> None:
    images = tmp_path / "leg" / "UltrasoundImages"
    images.mkdir(parents=True)
    rows = "timestamp,space_factor,x,y,z,euler_x,euler_y,euler_z\n"
    for stamp_ms in (1000, 1100):
        cv2.imwrite(str(images / f"{stamp_ms}.png"), np.full((4, 6), 7, np.uint8))
        rows += f"{stamp_ms},0.5,1,2,3,10,20,30\n"
    (tmp_path / "leg" / "poses.csv").write_text(rows)
    (tmp_path / "leg" / "Bone.stl").write_text("solid")
    bag = tmp_path / "bag"
    assert us_recon(["convert", "ultrabones", str(tmp_path / "leg"), "--out", str(bag)]) == 0
    assert len(list(frames_from_bag(bag))) == 2
    assert [path.name for path in truth_folder(bag).iterdir()] == ["Bone.stl"]
