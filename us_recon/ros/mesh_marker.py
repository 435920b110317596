"""A triangle mesh as a serialised marker.

Filling `Marker.points` with Python objects takes a quarter of a second for a mesh of 50,000
triangles. The marker is therefore serialised once with a single point, and the array of points is
put in its place: a point is three doubles (24 bytes, a multiple of the largest alignment of CDR),
so that everything behind it keeps its alignment. The same is done with a colour, of 16 bytes.
"""

import struct

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from jaxtyping import Bool, Float32, Int32
from rclpy.serialization import serialize_message
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from us_recon.errors import UsReconError
from us_recon.io.wire import MM_PER_M

Rgba = tuple[float, float, float, float]

FILLED_RGBA: Rgba = (0.45, 0.6, 0.85, 0.6)
"""What a prior filled in: blue, and the eye sees through it."""

_OTHER_LAYOUT = (
    "the marker's layout is not the one expected; "
    "this distribution's visualization_msgs differs from Jazzy's and Kilted's"
)
_ENCAPSULATION = 4
"""Bytes of the CDR header, which alignment does not count."""


def mesh_marker(
    vertices_mm: Float32[np.ndarray, "vertices 3"],
    triangles: Int32[np.ndarray, "triangles 3"],
    frame_id: str,
    stamp: Time,
    colour_rgba: Rgba,
    observed: Bool[np.ndarray, " vertices"] | None = None,
    filled_rgba: Rgba = FILLED_RGBA,
) -> bytes:
    """Return a serialised TRIANGLE_LIST marker, or one that deletes it where nothing is there.

    Args:
        vertices_mm: Vertex positions in `frame_id`.
        triangles: Vertex indices, counter-clockwise seen from outside.
        frame_id: Frame of the vertices.
        stamp: Time of the newest frame in the mesh.
        colour_rgba: Colour, each 0 to 1.
        observed: Which vertices were seen; None for all.
        filled_rgba: Colour of the others.
    """
    marker = Marker(ns="us_recon", id=0, type=Marker.TRIANGLE_LIST)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = colour_rgba
    if len(triangles) == 0:
        marker.action = Marker.DELETE
        return bytes(serialize_message(marker))
    marker.action = Marker.ADD
    marker.points = [Point()]
    corners_m = vertices_mm[triangles.ravel()].astype("<f8") / MM_PER_M
    if observed is None:
        return _with_points(bytes(serialize_message(marker)), marker, corners_m.tobytes())
    marker.colors = [ColorRGBA()]
    colours = np.where(observed[triangles.ravel(), None], colour_rgba, filled_rgba)
    return _with_points(
        bytes(serialize_message(marker)),
        marker,
        corners_m.tobytes(),
        colours.astype("<f4").tobytes(),
    )


def _with_points(serialised: bytes, marker: Marker, points: bytes, colours: bytes = b"") -> bytes:
    count_at = _offset_of_points(marker)
    point_at = _aligned(count_at + 4, 8)
    if struct.unpack_from("<I", serialised, count_at) != (1,):
        raise UsReconError(_OTHER_LAYOUT)
    count = struct.pack("<I", len(points) // 24)
    padding = b"\0" * (point_at - count_at - 4)
    behind_at = point_at + 24
    behind = serialised[behind_at:]
    if colours:  # their count follows the points at once, both a multiple of its alignment
        if struct.unpack_from("<I", serialised, behind_at) != (1,):
            raise UsReconError(_OTHER_LAYOUT)
        behind = struct.pack("<I", len(colours) // 16) + colours + serialised[behind_at + 20 :]
    return serialised[:count_at] + count + padding + points + behind


def _offset_of_points(marker: Marker) -> int:
    """Walk the fields before `points` in the order of Marker.msg (little-endian CDR)."""
    at = _ENCAPSULATION + 8  # header.stamp
    for text in (marker.header.frame_id, marker.ns):
        at = _aligned(at, 4) + 4 + len(text.encode()) + 1
    at = _aligned(at, 4) + 3 * 4  # id, type, action
    at = _aligned(at, 8) + 7 * 8 + 3 * 8 + 4 * 4 + 2 * 4 + 1  # pose ... frame_locked
    return _aligned(at, 4)


def _aligned(offset: int, size: int) -> int:
    return offset + (-(offset - _ENCAPSULATION)) % size
