import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from us_recon.errors import InputError
from us_recon.geometry.rigid import exp_se3
from us_recon.imaging.events import PoseEvent
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io.wire import poses_from_tf

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from tf2_msgs.msg import TFMessage

from us_recon.ros import conversions

pytestmark = pytest.mark.ros
finite = st.floats(-2.0, 2.0, allow_nan=False)


def test_a_pose_in_millimetres_is_sent_in_metres() -> None:
    T = exp_se3(np.array([1500.0, -20.0, 0.0, 0.0, 0.0, 0.0]))
    message = conversions.transform_stamped(PoseEvent(3_000_000_007, T, "world", "probe"))
    assert (message.transform.translation.x, message.transform.translation.y) == (1.5, -0.02)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert (message.header.frame_id, message.child_frame_id) == ("world", "probe")


@given(st.lists(finite, min_size=6, max_size=6), st.integers(0, 2**31 * 10**9 - 1))
def test_poses_survive_the_wire(twist: list[float], stamp_ns: int) -> None:
    event = PoseEvent(stamp_ns, exp_se3(np.array(twist) * [100, 100, 100, 1, 1, 1]))
    message = TFMessage(transforms=[conversions.transform_stamped(event)])
    (back,) = poses_from_tf(message, static=False)
    assert (back.stamp_ns, back.parent, back.child) == (stamp_ns, "world", "probe")
    np.testing.assert_allclose(back.T_parent_child, event.T_parent_child, atol=1e-9)


def test_an_unfilled_transform_is_no_pose() -> None:
    message = TFMessage(transforms=[conversions.TransformStamped()])
    message.transforms[0].transform.rotation.w = 0.0
    (back,) = poses_from_tf(message, static=False)
    assert np.isnan(back.T_parent_child).all()


@pytest.mark.parametrize(
    "geometry",
    [
        ProbeGeometry.linear(40.0, 60.0, 400, 600, skew_mm=0.004, centre_frequency_mhz=7.5),
        ProbeGeometry.sector(ProbeKind.CONVEX, 60.0, 70.0, 120.0, 640, orientation="UF"),
        ProbeGeometry.sector(ProbeKind.PHASED, 0.0, 90.0, 100.0, 640),
    ],
)
def test_geometry_survives_the_wire(geometry: ProbeGeometry) -> None:
    message = conversions.geometry_message(geometry, 5, "transducer")
    assert message.depth == pytest.approx(geometry.depth_mm / 1000.0)
    back = conversions.geometry_event(message).geometry
    for name in ProbeGeometry.__dataclass_fields__:
        assert getattr(back, name) == pytest.approx(getattr(geometry, name)), name


def test_an_empty_geometry_message_is_refused() -> None:
    with pytest.raises(InputError, match="kind is 0"):
        conversions.geometry_event(conversions.ProbeGeometry())


def test_images_survive_the_wire() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    message = conversions.image_message(image[:, ::-1], 5, "transducer")  # not contiguous
    assert (message.encoding, message.step, message.height) == ("mono8", 4, 3)
    np.testing.assert_array_equal(conversions.image_event(message).image, image[:, ::-1])
    colour = conversions.image_message(np.zeros((3, 4, 3), np.uint8), 5, "transducer")
    assert (colour.encoding, colour.step, len(colour.data)) == ("rgb8", 12, 36)


def test_a_deep_image_is_refused_with_advice() -> None:
    message = conversions.image_message(np.zeros((3, 4), np.uint8), 5, "transducer")
    message.encoding = "mono16"
    with pytest.raises(InputError, match="scale deeper images to 8 bits"):
        conversions.image_event(message)
