"""The mapper node over real middleware."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from us_recon.msg import MappingStatus
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.mapper import OccupancyMapper
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.ros import qos
from us_recon.ros.nodes.occupancy_mapper import OccupancyMapperNode

pytestmark = pytest.mark.ros
S = 1_000_000_000
T0 = 1_000 * S
GEOMETRY = ProbeGeometry.linear(30.0, 40.0, 60, 80, beam_count=60, sample_count=160)
DEPTH_MM = 20.0


def publish_plane(graph: Any, frames: int, labels: bool = True, first: int = 0) -> np.ndarray:
    """Sweep a labelled plane 20 mm below the probe in steps of 1 mm; return the label."""
    rows = GEOMETRY.pixels_to_mm(GEOMETRY.pixel_grid)[..., 1]
    label = ((rows > DEPTH_MM) & (rows < DEPTH_MM + 2.0)).astype(np.uint8)
    image = np.where(label > 0, 200, 60).astype(np.uint8)
    for k in range(first, first + frames):
        stamp_ns = T0 + k * S // 20
        # Looking down: depth (y of the transducer) along -z of the world.
        T = from_euler_xyz_deg(np.array([0.0, float(k), 100.0]), np.array([-90.0, 0.0, 0.0]))
        graph.publish(PoseEvent(stamp_ns, T, "world", "probe"))
        if labels:
            graph.publish(LabelEvent(stamp_ns, label))
        graph.publish(ImageEvent(stamp_ns, image))
    return label


def start(graph: Any, folder: Path, **settings: Any) -> OccupancyMapperNode:
    overrides = {"reliable_images": True, "status_period_s": 0.1, "mesh_period_s": 0.1,
                 "output_dir": str(folder), "label_wait_images": 1,
                 # A slow machine is no stalled scanner.
                 "stall_after_s": 600.0, **settings}  # fmt: skip
    node = graph.add(
        OccupancyMapperNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()]
        )
    )
    graph.publish(GeometryEvent(T0, GEOMETRY))
    graph.publish(PoseEvent(0, np.eye(4), "probe", "transducer", static=True))
    graph.wait(lambda: "transducer" in node.source.assembler.tree.parents, "the calibration")
    return node


def call(graph: Any, name: str) -> Trigger.Response:
    client = graph.node.create_client(Trigger, f"/occupancy_mapper/{name}")
    graph.wait(client.service_is_ready, f"the service {name}")
    future = client.call_async(Trigger.Request())
    graph.wait(future.done, f"the answer of {name}")
    return future.result()


def test_a_scan_becomes_a_mesh_a_status_and_files(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path)
    meshes = graph.listen(Marker, "/occupancy_mapper/mesh", qos.LATCHED)
    statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
    clouds = graph.listen(PointCloud2, "/occupancy_mapper/points", qos.STATUS)
    publish_plane(graph, 20)
    graph.publish(PoseEvent(T0 + S, from_euler_xyz_deg(np.array([1.0, 0, 0]), np.zeros(3))))
    graph.wait(lambda: node.frames_used >= 19, "the frames")
    graph.wait(lambda: meshes and len(meshes[-1].points) > 300, "a mesh")
    heights_m = np.array([point.z for point in meshes[-1].points])
    # The probe is 100 mm up and the plane 20 mm below it: 80 mm, in metres on the wire.
    assert np.median(heights_m) == pytest.approx(0.080, abs=0.0006)
    assert meshes[-1].header.frame_id == "world"
    graph.wait(lambda: len(clouds) >= 10, "surface points")
    points_m = np.frombuffer(clouds[-1].data, np.float32).reshape(-1, 3)
    assert len(points_m) == GEOMETRY.beam_count
    np.testing.assert_allclose(points_m[:, 2], 0.080, atol=0.0006)
    graph.wait(lambda: statuses and statuses[-1].frames_labelled >= 19, "a status with labels")
    status = statuses[-1]
    assert status.state == MappingStatus.STATE_MAPPING and status.surface_source == "label"
    assert status.triangles > 100 and status.observed_volume > 0 and status.frames_dropped == 0

    response = call(graph, "save")
    assert response.success, response.message
    mesh = read_mesh(tmp_path / "mesh.ply")
    assert np.median(mesh.vertices_mm[:, 2]) == pytest.approx(80.0, abs=0.6)
    assert json.loads((tmp_path / "mapping.json").read_text())["frames"] >= 19

    assert call(graph, "reset").success
    assert node.mapper.snapshot().mesh.is_empty


def test_masks_of_an_organ_that_come_after_their_images_are_mapped(
    graph: Any, tmp_path: Path
) -> None:
    node = start(graph, tmp_path, target="organ", label_wait_images=0)
    statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
    label = publish_plane(graph, 10, labels=False)
    graph.wait(lambda: node.frames_used == 10, "the frames")
    assert node.mapper.snapshot().mesh.is_empty  # the detector knows nothing of organs
    for k in range(10):
        graph.publish(LabelEvent(T0 + k * S // 20, label))
    graph.wait(lambda: statuses and statuses[-1].frames_labelled == 10, "the labels")
    graph.wait(lambda: statuses[-1].triangles > 100, "the mesh")
    heights_mm = node.mapper.snapshot().mesh.vertices_mm[:, 2]
    assert (np.abs(heights_mm - 80.0) < 0.6).sum() > 50  # near wall
    assert (np.abs(heights_mm - 78.0) < 0.6).sum() > 50  # far wall
    assert statuses[-1].frames_used == 10 and statuses[-1].frames_dropped == 0


def test_a_pause_leaves_frames_out_and_says_so(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, label_wait_images=0)
    statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
    publish_plane(graph, 5)
    graph.wait(lambda: node.frames_used == 5, "the frames")
    assert call(graph, "pause").success
    publish_plane(graph, 3, first=5)
    graph.wait(lambda: statuses and drops(statuses[-1]) == {"paused": 3}, "a status with drops")
    status = statuses[-1]
    assert status.state == MappingStatus.STATE_PAUSED and "~/resume" in status.message
    assert status.message.endswith("5 frames in the map") and node.mapper.frames == 5
    assert call(graph, "resume").success
    publish_plane(graph, 4, first=8)
    graph.wait(lambda: node.frames_used == 9, "the frames after the pause")
    graph.wait(lambda: statuses[-1].state == MappingStatus.STATE_MAPPING, "the state")
    assert drops(statuses[-1]) == {"paused": 3}


def drops(status: MappingStatus) -> dict[str, int]:
    return dict(zip(status.drop_reasons, status.drop_counts, strict=True))


def saved_field(folder: Path) -> FieldMap:
    field = OccupancyMapper.load(folder / "map.npz").map
    assert isinstance(field, FieldMap)
    return field


def test_a_field_settles_once_mapping_is_paused(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, label_wait_images=0, method="field", settle_steps=40)
    publish_plane(graph, 5)
    graph.wait(lambda: node.frames_used == 5, "the frames")

    def saved() -> tuple[str, int]:
        answer = call(graph, "save")
        assert answer.success
        return answer.message, saved_field(tmp_path).fit.steps

    message, steps = saved()
    assert "when mapping is paused" in message
    assert saved() == (message, steps)
    assert call(graph, "pause").success
    message, settled = saved()
    assert "is paused" not in message and settled == steps + 40
    node.stop()  # nothing came since: it stays as it is
    assert saved_field(tmp_path).fit.steps == settled


def test_a_reset_takes_the_mesh_away_and_keeps_what_was_saved(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path, label_wait_images=0)
    meshes = graph.listen(Marker, "/occupancy_mapper/mesh", qos.LATCHED)
    publish_plane(graph, 10)
    graph.wait(lambda: meshes and len(meshes[-1].points) > 100, "a mesh")
    graph.wait(lambda: node.frames_used == 10, "the frames")
    assert call(graph, "save").success
    assert call(graph, "reset").success
    graph.wait(lambda: meshes[-1].action == Marker.DELETE, "the end of the mesh")
    node.stop()  # an empty map does not replace the one that was saved
    assert json.loads((tmp_path / "mapping.json").read_text())["frames"] == 10


def test_scanning_goes_on_from_a_saved_map(graph: Any, tmp_path: Path) -> None:
    first = start(graph, tmp_path, label_wait_images=0)
    publish_plane(graph, 6)
    graph.wait(lambda: first.frames_used == 6, "the frames")
    assert call(graph, "save").success
    graph.remove(first)
    meshes = graph.listen(Marker, "/occupancy_mapper/mesh", qos.LATCHED)
    node = start(graph, tmp_path / "second", map_file=str(tmp_path / "map.npz"), spacing_mm=2.0)
    assert node.mapper.frames == 6 and node.mapper.settings.spacing_mm == 1.0
    graph.wait(lambda: meshes and len(meshes[-1].points) > 50, "the mesh of before")
    publish_plane(graph, 6, first=6)
    graph.wait(lambda: node.frames_used == 6, "the frames")
    assert node.mapper.frames == 12
    length_mm = np.ptp(node.mapper.snapshot().mesh.vertices_mm[:, 1])
    assert length_mm > 10.0


def test_the_status_says_why_a_map_is_empty(graph: Any, tmp_path: Path) -> None:
    start(graph, tmp_path, target="organ", label_wait_images=0)
    statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
    publish_plane(graph, 4, labels=False)
    expected = "none of 4 frames has a label that shows the organ"
    graph.wait(lambda: statuses and expected in statuses[-1].message, expected)


def test_a_late_subscriber_gets_the_mesh(graph: Any, tmp_path: Path) -> None:
    node = start(graph, tmp_path)
    publish_plane(graph, 10)
    graph.wait(lambda: node.frames_used >= 9, "the frames")
    graph.wait(lambda: node.mesh_count > 0, "a published mesh")
    late = graph.listen(Marker, "/occupancy_mapper/mesh", qos.LATCHED)
    graph.wait(lambda: late, "the latched mesh")
    assert late[0].type == Marker.TRIANGLE_LIST


def test_without_input_the_status_says_what_is_missing(graph: Any, tmp_path: Path) -> None:
    start(graph, tmp_path)
    statuses = graph.listen(MappingStatus, "/occupancy_mapper/status", qos.STATUS)
    graph.wait(lambda: statuses, "a status")
    assert statuses[-1].state == MappingStatus.STATE_WAITING
    assert "no image has arrived on /ultrasound/image" in statuses[-1].message
