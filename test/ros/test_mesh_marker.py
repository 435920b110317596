import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message
from visualization_msgs.msg import Marker

from us_recon.imaging.volume import Volume
from us_recon.ros.box_marker import box_marker
from us_recon.ros.mesh_marker import mesh_marker

pytestmark = pytest.mark.ros


# The frame name's length moves the array through every alignment.
@pytest.mark.parametrize("frame_id", ["", "w", "wo", "wor", "worl", "world", "worlds", "worldss"])
def test_the_assembled_marker_is_the_one_that_rclpy_reads(frame_id: str) -> None:
    vertices = np.array([[0, 0, 0], [1000, 0, 0], [0, 2000, 0], [0, 0, 3000]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    data = mesh_marker(vertices, triangles, frame_id, Time(sec=7), (0.1, 0.2, 0.3, 1.0))
    marker = deserialize_message(data, Marker)
    assert marker.header.frame_id == frame_id and marker.header.stamp.sec == 7
    assert marker.type == Marker.TRIANGLE_LIST and marker.action == Marker.ADD
    corners = [[point.x, point.y, point.z] for point in marker.points]
    assert corners == [[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 0], [0, 2, 0], [0, 0, 3]]
    assert marker.color.b == pytest.approx(0.3) and marker.scale.x == 1.0
    assert marker.text == "" and len(marker.colors) == 0 and marker.mesh_file.filename == ""


@pytest.mark.parametrize("frame_id", ["", "w", "wo", "wor", "world"])
def test_what_a_prior_filled_in_has_another_colour(frame_id: str) -> None:
    vertices = np.array([[0, 0, 0], [1000, 0, 0], [0, 2000, 0], [0, 0, 3000]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    observed = np.array([True, True, True, False])
    seen, filled = (0.1, 0.2, 0.3, 1.0), (0.5, 0.6, 0.7, 0.8)
    data = mesh_marker(vertices, triangles, frame_id, Time(), seen, observed, filled)
    marker = deserialize_message(data, Marker)
    assert [point.z for point in marker.points] == [0, 0, 0, 0, 0, 3]
    blue = [colour.b for colour in marker.colors]
    assert blue == pytest.approx([0.3, 0.3, 0.3, 0.3, 0.3, 0.7])
    assert marker.colors[5].a == pytest.approx(0.8)
    assert marker.text == "" and marker.mesh_file.filename == ""


def test_an_empty_mesh_deletes_the_marker() -> None:
    none = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    marker = deserialize_message(mesh_marker(*none, "world", Time(), (1, 1, 1, 1)), Marker)
    assert marker.action == Marker.DELETE and len(marker.points) == 0


def test_a_box_has_twelve_edges_along_the_axes() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.float32), np.diag([1000.0, 1000.0, 1000.0, 1.0]))
    points = [(p.x, p.y, p.z) for p in box_marker(volume, "mri", Time()).points]
    edges = np.array(points).reshape(-1, 2, 3)
    lengths = np.abs(edges[:, 1] - edges[:, 0])
    # A box of 1 x 2 x 3 m: four edges of each length, each along one axis.
    assert sorted(lengths.sum(axis=1)) == [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    assert ((lengths > 0).sum(axis=1) == 1).all()
    assert len({frozenset(map(tuple, edge)) for edge in edges}) == 12
