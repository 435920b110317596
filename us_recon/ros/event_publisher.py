"""Publish the events of an acquisition as a real cell would."""

from rclpy.node import Node
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.msg import ProbeGeometry
from us_recon.ros import conversions, qos

IMAGE_DEPTH = 30


class EventPublisher:
    """Publishers of images, labels, geometry and poses under the names the nodes listen to."""

    def __init__(self, node: Node, transducer_frame: str = "transducer") -> None:
        """Make the publishers; images are offered reliably, readers may ask for less."""
        images = qos.stream(reliable=True, depth=IMAGE_DEPTH)
        self._frame_id = transducer_frame
        self._geometry = node.create_publisher(
            ProbeGeometry, "ultrasound/probe_geometry", qos.LATCHED
        )
        self._static_tf = node.create_publisher(TFMessage, "/tf_static", qos.STATIC_TF)
        self._tf = node.create_publisher(TFMessage, "/tf", qos.TF)
        self._label = node.create_publisher(Image, "ultrasound/label", images)
        self._image = node.create_publisher(Image, "ultrasound/image", images)

    @property
    def readers(self) -> int:
        """Nodes that listen to the streams: the fewest subscriptions of images and poses."""
        publishers = (self._image, self._tf)
        return min(int(publisher.get_subscription_count()) for publisher in publishers)

    def publish(self, event: AcquisitionEvent, stamp_ns: int) -> None:
        """Publish an event, stamped with the given time."""
        match event:
            case GeometryEvent():
                self._geometry.publish(
                    conversions.geometry_message(event.geometry, stamp_ns, self._frame_id)
                )
            case PoseEvent():
                publisher = self._static_tf if event.static else self._tf
                publisher.publish(
                    TFMessage(transforms=[conversions.transform_stamped(event, stamp_ns)])
                )
            case ImageEvent():
                self._image.publish(
                    conversions.image_message(event.image, stamp_ns, event.frame_id)
                )
            case LabelEvent():
                self._label.publish(
                    conversions.image_message(event.label, stamp_ns, event.frame_id)
                )
