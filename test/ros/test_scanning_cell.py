"""The virtual cell over real middleware, and the demonstration as a whole."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from rclpy.parameter import Parameter

from us_recon.cli.main import main
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.ros.consumer import FrameConsumer
from us_recon.ros.nodes.scanning_cell import ScanningCellNode

pytestmark = [pytest.mark.ros, pytest.mark.slow]


class Listener(FrameConsumer):
    """Keep the frames of a cell."""

    def __init__(self) -> None:
        self.frames: list[TrackedFrame] = []
        overrides = [Parameter("reliable_images", value=True), Parameter("image_queue", value=500)]
        super().__init__("listener", parameter_overrides=overrides)
        self.start(refresh_period_s=1.0)

    def work(self, frame: TrackedFrame) -> None:
        self.frames.append(frame)

    def refresh(self) -> None:
        """Publish nothing."""

    def publish_status(self) -> None:
        """Publish nothing."""


def test_the_cell_publishes_its_sweep_and_its_truth(graph: Any, tmp_path: Path) -> None:
    """With all images made before, and settings of several parts given by name."""
    listener = graph.add(Listener())
    settings = {
        "scene": "spine",
        "seed": 3,
        "image_rate_hz": 1.0,
        "rate": 10.0,
        "wait_for_subscribers": 1,
        "label_every": 5,
        "options": "lanes=2 noise_mm=0.2 gain_db=3",
        "prepare": True,
        "truth_dir": str(tmp_path),
    }
    node = graph.add(
        ScanningCellNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
        )
    )
    graph.wait(node.finished.is_set, "the end of the sweep", timeout_s=90.0)
    count = node.cell.image_count
    counts = listener.count_fields
    graph.wait(lambda: counts()["frames_used"] + counts()["frames_dropped"] == count, "all frames")
    assert counts()["frames_dropped"] == 0, counts()
    for name, value in asdict(node.cell.geometry).items():  # radians on the wire: not bit for bit
        assert getattr(listener.frames[0].geometry, name) == pytest.approx(value), name
    found = np.stack([frame.T_world_transducer for frame in listener.frames])
    apart_mm = np.linalg.norm(found[:, :3, 3] - node.cell.T_world_transducer[:, :3, 3], axis=1)
    assert node.cell.sweep.lanes == 2 and node.cell.imager_settings.gain_db == 3.0
    # Noise of 0.2 mm and 0.05 degrees, 90 mm from the marker to the array face.
    assert 0.0 < apart_mm.max() < 1.0
    labelled = [frame.label is not None for frame in listener.frames]
    assert labelled == [number % 5 == 0 for number in range(count)]
    truth = json.loads((tmp_path / "transforms.json").read_text())
    np.testing.assert_allclose(truth["T_world_mri"], node.cell.T_world_mri)
    assert len(read_mesh(tmp_path / "bone.ply").triangles) > 1000


def test_the_demonstration_maps_and_registers(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--domain", "88"]) == 0
    report = (out / "report.md").read_text()
    values = dict(re.findall(r"^\| ([^|]+?) \| ([-\d.]+) mm \|$", report, re.MULTILINE))
    assert float(values["median"]) < 0.5 and float(values["95th percentile"]) < 3.0
    assert "trusted, published to tf" in report
    assert float(values["target error before"]) > 3.0
    assert float(values["target error after"]) < 1.0
    for picture in ("mesh.png", "registration.png"):
        assert (out / picture).stat().st_size > 10_000
    assert len(read_mesh(out / "mesh.ply").triangles) > 5000
