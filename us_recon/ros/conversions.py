"""Messages of a running node to events and back.

The units cross in `us_recon.io.wire`, by field name; here the fields become `rclpy` messages.
"""

from array import array
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from jaxtyping import Float64, UInt8
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry as CoreProbeGeometry
from us_recon.io import wire
from us_recon.msg import ProbeGeometry

M = TypeVar("M")


def time_message(stamp_ns: int) -> Time:
    """Return a stamp as a message."""
    return Time(**wire.stamp_to_fields(stamp_ns))


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """Return a header."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def image_event(message: Image) -> ImageEvent:
    """Return an image message as an event.

    Raises:
        InputError: The encoding is unknown or the data does not fill the image.
    """
    stamp_ns = wire.stamp_from_message(message.header.stamp)
    return ImageEvent(stamp_ns, wire.image_from_message(message), message.header.frame_id)


def label_event(message: Image) -> LabelEvent:
    """Return a label message as an event; raises as `image_event` does."""
    stamp_ns = wire.stamp_from_message(message.header.stamp)
    return LabelEvent(stamp_ns, wire.image_from_message(message), message.header.frame_id)


def geometry_event(message: ProbeGeometry) -> GeometryEvent:
    """Return a geometry message as an event.

    Raises:
        InputError: A value cannot be that of a probe.
    """
    stamp_ns = wire.stamp_from_message(message.header.stamp)
    return GeometryEvent(stamp_ns, wire.probe_geometry_from_message(message))


def image_message(
    image: UInt8[np.ndarray, "rows columns *channels"], stamp_ns: int, frame_id: str
) -> Image:
    """Return an image as mono8, or as rgb8 where it has three channels."""
    rows, columns, *channels = image.shape
    message = Image(
        header=header_message(stamp_ns, frame_id),
        height=rows,
        width=columns,
        encoding="rgb8" if channels else "mono8",
        step=columns * (channels[0] if channels else 1),
    )
    data = array("B")  # assigning an array of another type makes rclpy check every element
    data.frombytes(np.ascontiguousarray(image).tobytes())
    message.data = data
    return message


def geometry_message(geometry: CoreProbeGeometry, stamp_ns: int, frame_id: str) -> ProbeGeometry:
    """Return a probe geometry as a message."""
    fields = wire.probe_geometry_to_fields(geometry, stamp_ns, frame_id)
    return _build(ProbeGeometry, {**fields, "header": header_message(stamp_ns, frame_id)})


def transform_message(T: Float64[np.ndarray, "4 4"]) -> Transform:
    """Return a rigid transform (mm) as a message (m)."""
    fields = wire.matrix_mm_to_transform_fields(T)
    return Transform(
        translation=Vector3(**fields["translation"]), rotation=Quaternion(**fields["rotation"])
    )


def transform_stamped(event: PoseEvent, stamp_ns: int | None = None) -> TransformStamped:
    """Return a pose event as a message, with its own stamp unless another one is given."""
    return TransformStamped(
        header=header_message(event.stamp_ns if stamp_ns is None else stamp_ns, event.parent),
        child_frame_id=event.child,
        transform=transform_message(event.T_parent_child),
    )


def pose_message(T: Float64[np.ndarray, "4 4"]) -> Pose:
    """Return a rigid transform (mm) as a pose message (m)."""
    fields = wire.matrix_mm_to_pose_fields(T)
    return Pose(
        position=Point(**fields["position"]), orientation=Quaternion(**fields["orientation"])
    )


def _build(message_type: type[M], fields: Mapping[str, Any]) -> M:
    return message_type(**fields)
