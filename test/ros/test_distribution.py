import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from std_msgs.msg import Header

from us_recon.ros import distribution

pytestmark = pytest.mark.ros
angles = st.floats(-1.5, 1.5)
POINTS = np.array([[0.1, -0.2, 0.3], [1.0, 2.0, 3.0]], np.float32)


def test_own_cloud_holds_the_points() -> None:
    cloud = distribution.packed_cloud(Header(frame_id="world"), POINTS)
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (2, 1, 12, 24)
    assert [(field.name, field.offset) for field in cloud.fields] == [("x", 0), ("y", 4), ("z", 8)]
    np.testing.assert_array_equal(np.frombuffer(cloud.data, "<f4").reshape(-1, 3), POINTS)


def test_own_rotation_turns_about_fixed_axes() -> None:
    # Roll 90 degrees takes y to z; the yaw of 90 degrees after it leaves z alone.
    T = distribution.matrix_of_rpy(np.pi / 2, 0.0, np.pi / 2)
    np.testing.assert_allclose(T @ [0, 1, 0, 1], [0, 0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(T @ [1, 0, 0, 1], [0, 1, 0, 1], atol=1e-12)


def test_cloud_agrees_with_sensor_msgs_py() -> None:
    theirs = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py comes with ROS distributions only"
    )
    header = Header(frame_id="world")
    own = distribution.packed_cloud(header, POINTS)
    other = theirs.create_cloud_xyz32(header, POINTS)
    for name in ("header", "height", "width", "fields", "point_step", "row_step"):
        assert getattr(own, name) == getattr(other, name), name
    assert bytes(own.data) == bytes(other.data)
    assert distribution.cloud_message is theirs.create_cloud_xyz32


@given(angles, angles, angles)
def test_rotation_agrees_with_tf_transformations(roll: float, pitch: float, yaw: float) -> None:
    theirs = pytest.importorskip(
        "tf_transformations", reason="tf_transformations comes with ROS distributions only"
    )
    own = distribution.matrix_of_rpy(roll, pitch, yaw)
    np.testing.assert_allclose(own, theirs.euler_matrix(roll, pitch, yaw), atol=1e-12)
    assert distribution.rpy_matrix is theirs.euler_matrix
