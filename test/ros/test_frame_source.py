"""What reaches a node over the middleware, and what is dropped and said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter

from us_recon.ros import conversions, qos
from us_recon.ros.consumer import FrameConsumer

pytestmark = pytest.mark.ros
S = 1_000_000_000
T0 = 1_000 * S
GEOMETRY = ProbeGeometry.linear(4.0, 3.0, 4, 3)
IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)
CALIBRATION = PoseEvent(
    0, from_euler_xyz_deg(np.array([0.0, 0.0, 5.0]), np.zeros(3)), "probe", "transducer", True
)


class Recorder(FrameConsumer):
    """Keep the frames that arrive."""

    def __init__(self, **parameters: Any) -> None:
        self.frames: list[TrackedFrame] = []
        self.refreshed = self.published = 0
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        super().__init__("recorder", parameter_overrides=overrides)
        self.start(refresh_period_s=0.05)

    def work(self, frame: TrackedFrame) -> None:
        self.frames.append(frame)

    def refresh(self) -> None:
        self.refreshed += 1

    def publish_status(self) -> None:
        self.published += 1


def pose(k: int, x: float = 10.0) -> PoseEvent:
    T = from_euler_xyz_deg(np.array([x + k, 7.0, 0.0]), np.zeros(3))
    return PoseEvent(T0 + k * S // 10, T, "world", "probe")


def image(k: int, frame_id: str = "transducer") -> ImageEvent:
    return ImageEvent(T0 + k * S // 10, IMAGE, frame_id)


def start(graph: Any, **parameters: Any) -> Recorder:
    node = graph.add(Recorder(reliable_images=True, status_period_s=0.1, **parameters))
    graph.publish(GeometryEvent(T0, GEOMETRY))
    graph.publish(CALIBRATION)
    graph.wait(lambda: node.source.assembler.geometry is not None, "the geometry")
    return node


def test_images_and_tf_become_frames_in_order(graph: Any) -> None:
    node = start(graph)
    for k in range(5):
        graph.publish(pose(k))
        graph.publish(image(k))
    graph.wait(lambda: node.frames_used == 5, "five frames")
    assert [frame.stamp_ns for frame in node.frames] == [T0 + k * S // 10 for k in range(5)]
    np.testing.assert_allclose(node.frames[3].T_world_transducer[:3, 3], [13, 7, 5], atol=1e-9)
    np.testing.assert_array_equal(node.frames[3].image, IMAGE)
    graph.wait(lambda: node.refreshed and node.published, "a snapshot and a status")
    assert node.count_fields()["frames_dropped"] == 0
    assert node.count_fields()["image_rate"] == pytest.approx(10.0)


def test_a_late_subscriber_gets_geometry_and_calibration(graph: Any) -> None:
    first = start(graph)
    late = graph.add(Recorder(reliable_images=True))
    graph.wait(lambda: late.source.assembler.geometry == GEOMETRY, "the latched geometry")
    graph.wait(lambda: "transducer" in late.source.assembler.tree.parents, "the calibration")
    graph.publish(pose(0))
    graph.wait(lambda: late.source.assembler.poses_received == 1, "the pose")
    graph.publish(image(0))
    graph.wait(lambda: late.frames_used == 1 and first.frames_used == 1, "a frame in both")


def test_without_a_pose_the_image_waits_and_the_status_says_for_what(graph: Any) -> None:
    node = start(graph, max_pending_images=2)
    for k in range(4):
        graph.publish(image(k))
    graph.wait(lambda: node.source.assembler.drops, "drops")
    graph.wait(lambda: node.source.assembler.images_received == 4, "four images")
    fields = node.count_fields()
    assert fields["drop_reasons"] == ["pose_missing"] and fields["drop_counts"] == [2]
    assert fields["frames_used"] == 0 and fields["backlog"] == 2
    waiting = node.source.waiting_message()
    assert "2 images wait for a pose" in waiting and "no transform connects" in waiting


def test_wrong_frame_size_and_format_are_dropped_by_reason(graph: Any) -> None:
    node = start(graph)
    graph.publish(pose(0))
    graph.publish(image(0, "camera"))
    graph.publish(ImageEvent(T0 + 1, np.zeros((5, 6), np.uint8)))
    deep = conversions.image_message(IMAGE, T0 + 2, "transducer")
    deep.encoding = "mono16"
    graph.send("ultrasound/image", type(deep), deep, qos.stream(True, 100))
    graph.wait(lambda: sum(node.source.assembler.drops.values()) == 3, "three drops")
    fields = node.count_fields()
    assert fields["drop_reasons"] == ["image_format", "image_frame", "image_size"]
    assert fields["frames_received"] == 3 and fields["frames_used"] == 0
    # And the stream goes on: a good image after the bad ones is used.
    graph.publish(pose(2))
    graph.publish(image(1))
    graph.wait(lambda: node.frames_used == 1, "the good image")


def test_a_changed_image_size_is_followed_by_its_geometry(graph: Any) -> None:
    node = start(graph)
    graph.publish(pose(0))
    graph.publish(image(0))
    graph.wait(lambda: node.frames_used == 1, "the first frame")
    wider = ProbeGeometry.linear(6.0, 5.0, 6, 5)
    graph.publish(GeometryEvent(T0, wider))
    graph.wait(lambda: node.source.assembler.geometry == wider, "the new geometry")
    graph.publish(pose(1))
    graph.publish(pose(2))
    graph.publish(ImageEvent(T0 + S // 10, np.ones((5, 6), np.uint8)))
    graph.wait(lambda: node.frames_used == 2, "the wider frame")
    assert node.frames[1].geometry == wider


def test_an_invalid_pose_is_never_used(graph: Any) -> None:
    node = start(graph)
    lost = PoseEvent(T0, np.eye(4), "world", "probe")  # what a tracker sends for a hidden body
    graph.publish(lost)
    graph.publish(replace(image(0)))
    graph.wait(lambda: node.source.assembler.images_received == 1, "the image")
    assert node.count_fields()["drop_reasons"] == ["pose_invalid"]
    assert node.frames_used == 0


def test_poses_may_come_as_pose_stamped_in_the_right_frame_only(graph: Any) -> None:
    node = start(graph, pose_source="topic")
    T = pose(0).T_parent_child
    for frame_id in ("camera", "world"):
        message = PoseStamped(
            header=conversions.header_message(T0, frame_id), pose=conversions.pose_message(T)
        )
        graph.send("probe_pose", PoseStamped, message, qos.TF)
    graph.publish(image(0))
    graph.wait(lambda: node.frames_used == 1, "the frame")
    assert node.count_fields()["drop_reasons"] == ["pose_frame"]
    assert "expected 'world'" in next(iter(node.source.assembler.details.values()))
    np.testing.assert_allclose(node.frames[0].T_world_transducer[:3, 3], [10, 7, 5], atol=1e-9)


def test_a_label_meets_its_image(graph: Any) -> None:
    node = start(graph, label_wait_images=1)
    graph.publish(pose(0))
    graph.publish(pose(1))
    graph.publish(image(0))
    label = (IMAGE > 5).astype(np.uint8)
    graph.publish(LabelEvent(T0, label))
    graph.wait(lambda: node.frames_used == 1, "the labelled frame")
    np.testing.assert_array_equal(node.frames[0].label, label)


def test_a_recording_that_starts_again_is_followed(graph: Any) -> None:
    node = start(graph)
    for k in (50, 51):
        graph.publish(pose(k))
        graph.publish(image(k))
    graph.wait(lambda: node.frames_used == 2, "the first pass")
    graph.publish(image(0))  # seconds earlier: the bag was played again
    for k in (1, 2):
        graph.publish(pose(k))
        graph.publish(image(k))
    graph.wait(lambda: node.frames_used >= 4, "the second pass")
    assert node.source.assembler.restarts == 1
    assert node.frames[-1].stamp_ns == T0 + 2 * S // 10


def test_an_error_in_the_worker_reaches_the_executor(graph: Any) -> None:
    node = start(graph)

    def broken(_: TrackedFrame) -> None:
        raise ValueError("broken map")

    node.work = broken
    graph.publish(pose(0))
    graph.publish(image(0))
    graph.wait_for_error("recorder stopped working: broken map")
