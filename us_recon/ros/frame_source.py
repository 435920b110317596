"""Subscriptions to images, poses, labels and geometry, and the assembler they feed."""

from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.assembler import AssemblerSettings, DropReason, FrameAssembler
from us_recon.imaging.events import AcquisitionEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.wire import pose_from_pose_stamped, poses_from_tf
from us_recon.msg import ProbeGeometry
from us_recon.pipeline.node_settings import SourceSettings
from us_recon.ros import conversions, qos


class FrameSource:
    """Turn a node's messages into tracked frames and count what cannot be used.

    Callbacks only convert and hand over; frames go to `on_frame` in the order of their images.
    """

    def __init__(
        self,
        node: Node,
        settings: SourceSettings,
        assembler_settings: AssemblerSettings,
        on_frame: Callable[[TrackedFrame], None],
        late_labels: bool,
    ) -> None:
        """Subscribe to ``ultrasound/{image,label,probe_geometry}``, tf and, on request, a pose.

        Raises:
            ConfigError: The probe and the transducer frame are the same frame.
        """
        if settings.probe_frame == assembler_settings.world_frame:
            raise ConfigError(
                f"probe_frame and world_frame are both {settings.probe_frame!r}; "
                "expected two frames"
            )
        self.assembler = FrameAssembler(assembler_settings, late_labels)
        self._node, self._settings, self._on_frame = node, settings, on_frame
        self._warned: dict[DropReason, str] = {}
        images = qos.stream(settings.reliable_images, settings.image_queue)
        node.create_subscription(
            ProbeGeometry, "ultrasound/probe_geometry", self._take_geometry, qos.LATCHED
        )
        node.create_subscription(TFMessage, "/tf_static", self._take_static_tf, qos.STATIC_TF)
        node.create_subscription(TFMessage, "/tf", self._take_tf, qos.TF)
        node.create_subscription(Image, "ultrasound/label", self._take_label, images)
        node.create_subscription(Image, "ultrasound/image", self._take_image, images)
        if settings.pose_source == "topic":
            node.create_subscription(PoseStamped, "probe_pose", self._take_pose, qos.TF)

    def warn_of_new_drops(self) -> None:
        """Log each reason for dropping once, and again when its message changes."""
        for reason, detail in self.assembler.details.items():
            if self._warned.get(reason) is None:
                self._warned[reason] = detail
                count = self.assembler.drops[reason]
                self._node.get_logger().warning(f"dropped ({reason}, {count} so far): {detail}")

    def waiting_message(self) -> str:
        """Return what is missing before frames can flow, or an empty string."""
        assembler = self.assembler
        if assembler.images_received == 0:
            return f"no image has arrived on {self._resolved('ultrasound/image')}"
        if assembler.geometry is None:
            topic = self._resolved("ultrasound/probe_geometry")
            return f"no probe geometry has arrived on {topic}"
        if assembler.pending:
            return f"{assembler.pending} images wait for a pose: {assembler.waiting_for}"
        if assembler.frames_assembled == 0 and assembler.details:
            return next(reversed(assembler.details.values()))
        return ""

    def _resolved(self, topic: str) -> str:
        return str(self._node.resolve_topic_name(topic))

    def _push(self, event: AcquisitionEvent) -> None:
        for frame in self.assembler.push(event):
            self._on_frame(frame)

    def _take_geometry(self, message: ProbeGeometry) -> None:
        try:
            self._push(conversions.geometry_event(message))
        except InputError as error:
            self.assembler.drop(DropReason.NO_GEOMETRY, str(error))

    def _take_static_tf(self, message: TFMessage) -> None:
        for event in poses_from_tf(message, static=True):
            self._push(event)

    def _take_tf(self, message: TFMessage) -> None:
        for event in poses_from_tf(message, static=False):
            if self._settings.pose_source == "tf" or event.child != self._settings.probe_frame:
                self._push(event)

    def _take_pose(self, message: PoseStamped) -> None:
        event: PoseEvent = pose_from_pose_stamped(message, self._settings.probe_frame)
        if event.parent != self.assembler.settings.world_frame:
            self.assembler.drop(
                DropReason.POSE_FRAME,
                f"pose is given in frame {event.parent!r}; "
                f"expected {self.assembler.settings.world_frame!r}",
            )
            return
        self._push(event)

    def _take_label(self, message: Image) -> None:
        try:
            self._push(conversions.label_event(message))
        except InputError as error:
            self.assembler.drop(DropReason.IMAGE_FORMAT, f"label: {error}")

    def _take_image(self, message: Image) -> None:
        try:
            event = conversions.image_event(message)
        except InputError as error:
            self.assembler.images_received += 1
            self.assembler.drop(DropReason.IMAGE_FORMAT, str(error))
            return
        restarts = self.assembler.restarts
        self._push(event)
        if self.assembler.restarts > restarts:
            self._node.get_logger().warning("image time ran backwards: a recording started again")
