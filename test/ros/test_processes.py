"""Nodes as processes of their own: they save what they have, however they are stopped."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from us_recon.errors import UsReconError
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from us_recon.msg import MappingStatus
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.ros import qos
from us_recon.ros.processes import running_node

pytestmark = pytest.mark.ros
S = 1_000_000_000
T0 = 1_000 * S
GEOMETRY = ProbeGeometry.linear(30.0, 40.0, 60, 80, beam_count=60, sample_count=160)


def scan_a_plane(graph: Any, frames: int) -> None:
    rows = GEOMETRY.pixels_to_mm(GEOMETRY.pixel_grid)[..., 1]
    label = ((rows > 20.0) & (rows < 22.0)).astype(np.uint8)
    image = np.where(rows < 20.0, 90, 200 * label).astype(np.uint8)
    for k in range(frames):
        stamp_ns = T0 + k * S // 20
        T = from_euler_xyz_deg(np.array([0.0, float(k), 100.0]), np.array([-90.0, 0.0, 0.0]))
        graph.publish(PoseEvent(stamp_ns, T, "world", "probe"))
        graph.publish(LabelEvent(stamp_ns, label))
        graph.publish(ImageEvent(stamp_ns, image))


def test_two_interrupts_in_a_row_do_not_cost_the_map(graph: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parameters = {"output_dir": str(out), "reliable_images": True, "status_period_s": 0.1,
                  "label_wait_images": 1}  # fmt: skip
    domain_id = graph.node.context.get_domain_id()
    with running_node("occupancy_mapper", parameters, tmp_path / "logs", domain_id) as node:
        statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
        graph.expect_readers(1)
        graph.publish(GeometryEvent(T0, GEOMETRY))
        graph.publish(PoseEvent(0, np.eye(4), "probe", "transducer", static=True))
        # The latched calibration must be there before the first image is matched.
        graph.wait(lambda: statuses, "a status", timeout_s=60.0)
        scan_a_plane(graph, 20)
        graph.wait(lambda: statuses[-1].frames_used >= 19, "the frames", timeout_s=60.0)
        # A Ctrl-C in a terminal reaches the node from the terminal and again from the launcher.
        os.kill(node.process.pid, signal.SIGINT)
        time.sleep(0.05)
        os.kill(node.process.pid, signal.SIGINT)
        assert node.process.wait(30.0) == 0, node.log.read_text()
    assert len(read_mesh(out / "mesh.ply").triangles) > 500
    assert (out / "map.npz").is_file()


def test_a_node_that_cannot_start_says_why(graph: Any, tmp_path: Path) -> None:
    domain_id = graph.node.context.get_domain_id()
    parameters = {"mri_file": str(tmp_path / "none.nii.gz")}
    with running_node("mri_registration", parameters, tmp_path, domain_id) as node:
        assert node.process.wait(60.0) == 2
        with pytest.raises(UsReconError, match=r"none\.nii\.gz"):
            node.check()


def test_a_parameter_out_of_range_is_named(graph: Any, tmp_path: Path) -> None:
    domain_id = graph.node.context.get_domain_id()
    with running_node("occupancy_mapper", {"spacing_mm": 99.0}, tmp_path, domain_id) as node:
        assert node.process.wait(60.0) == 2
        with pytest.raises(UsReconError, match="spacing_mm"):
            node.check()
