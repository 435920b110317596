"""The crossing between messages and core types: metres, radians and hertz to mm, degrees and MHz.

The only place where lengths are converted. It knows messages by their attribute names alone, so
it serves the messages of a bag (`rosbags`) and those of a running node (`rclpy`) alike; towards
messages it returns plain values by field name, from which either side builds its own.
"""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray

from us_recon.errors import InputError
from us_recon.geometry.rigid import make_rigid, quaternion_to_rotation, rotation_to_quaternion
from us_recon.imaging.events import PoseEvent
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

MM_PER_M = 1000.0
HZ_PER_MHZ = 1e6
NS_PER_S = 1_000_000_000

Fields = dict[str, Any]

_KIND_NUMBERS = {ProbeKind.LINEAR: 1, ProbeKind.CONVEX: 2, ProbeKind.PHASED: 3}
_KINDS = {number: kind for kind, number in _KIND_NUMBERS.items()}
_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}
_TO_GREY = {
    "rgb8": cv2.COLOR_RGB2GRAY,
    "bgr8": cv2.COLOR_BGR2GRAY,
    "8UC3": cv2.COLOR_BGR2GRAY,
    "rgba8": cv2.COLOR_RGBA2GRAY,
    "bgra8": cv2.COLOR_BGRA2GRAY,
}


def stamp_from_message(stamp: Any) -> int:
    """Return a ``builtin_interfaces/Time`` in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def stamp_to_fields(stamp_ns: int) -> Fields:
    """Return the fields of a ``builtin_interfaces/Time``.

    Raises:
        InputError: The time does not fit the message: negative, or 2^31 seconds or more.
    """
    if not 0 <= stamp_ns < 2**31 * NS_PER_S:
        raise InputError(f"stamp_ns is {stamp_ns}; a message holds 0 up to 2^31 seconds")
    return {"sec": stamp_ns // NS_PER_S, "nanosec": stamp_ns % NS_PER_S}


def header_to_fields(stamp_ns: int, frame_id: str) -> Fields:
    """Return the fields of a ``std_msgs/Header``."""
    return {"stamp": stamp_to_fields(stamp_ns), "frame_id": frame_id}


def point_to_mm(point: Any) -> Float64[np.ndarray, "3"]:
    """Return a ``geometry_msgs/Point`` or ``Vector3`` (m) in millimetres."""
    return np.array([point.x, point.y, point.z], dtype=np.float64) * MM_PER_M


def mm_to_point_fields(point_mm: Float64[np.ndarray, "3"]) -> Fields:
    """Return the fields of a ``geometry_msgs/Point`` or ``Vector3`` (m)."""
    x, y, z = (float(value) for value in point_mm / MM_PER_M)
    return {"x": x, "y": y, "z": z}


def transform_to_matrix_mm(transform: Any) -> Float64[np.ndarray, "4 4"]:
    """Return a ``geometry_msgs/Transform`` (m) as a rigid 4x4 matrix (mm).

    Raises:
        InputError: The quaternion is not of unit length, as in a message nobody filled in.
    """
    return _matrix_mm(transform.translation, transform.rotation)


def pose_to_matrix_mm(pose: Any) -> Float64[np.ndarray, "4 4"]:
    """Return a ``geometry_msgs/Pose`` (m) as a rigid 4x4 matrix (mm); raises as for transforms."""
    return _matrix_mm(pose.position, pose.orientation)


def matrix_mm_to_transform_fields(T: Float64[np.ndarray, "4 4"]) -> Fields:
    """Return the fields of a ``geometry_msgs/Transform`` (m) of a rigid 4x4 matrix (mm)."""
    return {"translation": mm_to_point_fields(T[:3, 3]), "rotation": _quaternion_fields(T)}


def matrix_mm_to_pose_fields(T: Float64[np.ndarray, "4 4"]) -> Fields:
    """Return the fields of a ``geometry_msgs/Pose`` (m) of a rigid 4x4 matrix (mm)."""
    return {"position": mm_to_point_fields(T[:3, 3]), "orientation": _quaternion_fields(T)}


def pose_to_transform_stamped_fields(event: PoseEvent) -> Fields:
    """Return the fields of a ``geometry_msgs/TransformStamped``."""
    return {
        "header": header_to_fields(event.stamp_ns, event.parent),
        "child_frame_id": event.child,
        "transform": matrix_mm_to_transform_fields(event.T_parent_child),
    }


def poses_from_tf(message: Any, static: bool) -> list[PoseEvent]:
    """Return the poses in a ``tf2_msgs/TFMessage``.

    A transform with an invalid rotation becomes a pose of NaN, which no receiver takes for a
    measurement and the frame assembler counts as invalid.
    """
    return [
        PoseEvent(
            stamp_from_message(item.header.stamp),
            _matrix_or_nan(item.transform.translation, item.transform.rotation),
            parent=item.header.frame_id.lstrip("/"),
            child=item.child_frame_id.lstrip("/"),
            static=static,
        )
        for item in message.transforms
    ]


def pose_from_pose_stamped(message: Any, child: str) -> PoseEvent:
    """Return a ``geometry_msgs/PoseStamped`` as the pose of `child` in the message's frame."""
    return PoseEvent(
        stamp_from_message(message.header.stamp),
        _matrix_or_nan(message.pose.position, message.pose.orientation),
        parent=message.header.frame_id.lstrip("/"),
        child=child,
    )


def probe_geometry_to_fields(geometry: ProbeGeometry, stamp_ns: int, frame_id: str) -> Fields:
    """Return the fields of a ``us_recon/ProbeGeometry`` (m, rad, Hz)."""
    return {
        "header": header_to_fields(stamp_ns, frame_id),
        "kind": _KIND_NUMBERS[geometry.kind],
        "image_width": geometry.width_px,
        "image_height": geometry.height_px,
        "pixel_spacing_x": geometry.spacing_x_mm / MM_PER_M,
        "pixel_spacing_y": geometry.spacing_y_mm / MM_PER_M,
        "pixel_skew": geometry.skew_mm / MM_PER_M,
        "origin_x": float(geometry.origin_x_px),
        "origin_y": float(geometry.origin_y_px),
        "orientation": geometry.orientation,
        "depth": geometry.depth_mm / MM_PER_M,
        "aperture_width": geometry.width_mm / MM_PER_M,
        "radius": geometry.radius_mm / MM_PER_M,
        "angle_min": float(np.radians(geometry.angle_min_deg)),
        "angle_max": float(np.radians(geometry.angle_max_deg)),
        "beam_count": geometry.beam_count,
        "sample_count": geometry.sample_count,
        "centre_frequency": geometry.centre_frequency_mhz * HZ_PER_MHZ,
        "speed_of_sound": 0.0,
    }


def probe_geometry_from_message(message: Any) -> ProbeGeometry:
    """Return the geometry in a ``us_recon/ProbeGeometry``.

    Raises:
        InputError: The kind is unknown, a field is missing (a message of another version) or a
            value cannot be that of a probe.
    """
    kind = _KINDS.get(getattr(message, "kind", 0))
    if kind is None:
        raise InputError(
            f"probe geometry message: kind is {getattr(message, 'kind', None)}; "
            "expected 1 (linear), 2 (convex) or 3 (phased)"
        )
    try:
        return ProbeGeometry(
            kind=kind,
            width_px=int(message.image_width),
            height_px=int(message.image_height),
            spacing_x_mm=message.pixel_spacing_x * MM_PER_M,
            spacing_y_mm=message.pixel_spacing_y * MM_PER_M,
            origin_x_px=message.origin_x,
            origin_y_px=message.origin_y,
            depth_mm=message.depth * MM_PER_M,
            width_mm=message.aperture_width * MM_PER_M,
            radius_mm=message.radius * MM_PER_M,
            angle_min_deg=float(np.degrees(message.angle_min)),
            angle_max_deg=float(np.degrees(message.angle_max)),
            beam_count=int(message.beam_count),
            sample_count=int(message.sample_count),
            skew_mm=message.pixel_skew * MM_PER_M,
            orientation=message.orientation,
            centre_frequency_mhz=message.centre_frequency / HZ_PER_MHZ,
        )
    except AttributeError as error:
        raise InputError(f"probe geometry message: {error}; it is of another version") from error


def image_to_fields(image: UInt8[np.ndarray, "h w"], stamp_ns: int, frame_id: str) -> Fields:
    """Return the fields of a mono8 ``sensor_msgs/Image``; its data is a flat uint8 array."""
    height, width = image.shape
    return {
        "header": header_to_fields(stamp_ns, frame_id),
        "height": height,
        "width": width,
        "encoding": "mono8",
        "is_bigendian": 0,
        "step": width,
        "data": np.ascontiguousarray(image).reshape(-1),
    }


def image_from_message(message: Any) -> UInt8[np.ndarray, "h w"]:
    """Return the brightness in a ``sensor_msgs/Image``; colour becomes grey (ITU-R BT.601).

    Raises:
        InputError: The encoding is not of 8 bits, or the data does not fill the image.
    """
    height, width, encoding = int(message.height), int(message.width), str(message.encoding)
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise InputError(
            f"image encoding is {encoding!r}; expected one of {', '.join(_CHANNELS)}; "
            "scale deeper images to 8 bits before publishing them"
        )
    step, data = int(message.step), np.frombuffer(message.data, dtype=np.uint8)
    if width < 1 or height < 1 or step < width * channels or data.size < height * step:
        raise InputError(
            f"image of {width} x {height} in {encoding} has step {step} and {data.size} bytes; "
            f"expected a step of {width * channels} or more and {height} times as many bytes"
        )
    rows = data[: height * step].reshape(height, step)[:, : width * channels]
    if channels == 1:
        return rows
    colour = np.ascontiguousarray(rows).reshape(height, width, channels)
    return _grey(colour, _TO_GREY[encoding])


def image_from_compressed_message(message: Any) -> UInt8[np.ndarray, "h w"]:
    """Return the brightness in a ``sensor_msgs/CompressedImage`` (PNG or JPEG).

    Raises:
        InputError: The data is not an image that OpenCV can decode.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    if image is None:
        raise InputError(
            f"compressed image of format {message.format!r} and {data.size} bytes cannot be "
            "decoded; expected PNG or JPEG"
        )
    return np.asarray(image, dtype=np.uint8)


def _grey(colour: UInt8[np.ndarray, "h w c"], code: int) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(cv2.cvtColor(colour, code), dtype=np.uint8)


def _matrix_mm(translation: Any, rotation: Any) -> Float64[np.ndarray, "4 4"]:
    xyzw = np.array([rotation.x, rotation.y, rotation.z, rotation.w], dtype=np.float64)
    return make_rigid(quaternion_to_rotation(xyzw), point_to_mm(translation))


def _matrix_or_nan(translation: Any, rotation: Any) -> Float64[np.ndarray, "4 4"]:
    try:
        return _matrix_mm(translation, rotation)
    except InputError:
        return np.full((4, 4), np.nan)


def _quaternion_fields(T: Float64[np.ndarray, "4 4"]) -> Fields:
    return dict(zip("xyzw", _floats(rotation_to_quaternion(T[:3, :3])), strict=True))


def _floats(values: Iterable[float] | NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values]
