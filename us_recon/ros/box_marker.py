"""The outline of a volume as a marker."""

from itertools import combinations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker

from us_recon.imaging.volume import Volume
from us_recon.io.wire import mm_to_point_fields


def box_marker(volume: Volume, frame_id: str, stamp: Time) -> Marker:
    """Return the twelve edges of a volume's box as a LINE_LIST in the volume's own frame."""
    marker = Marker(ns="us_recon", id=1, type=Marker.LINE_LIST, action=Marker.ADD)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.frame_locked = True
    marker.pose.orientation.w = 1.0
    marker.scale.x = 0.001
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = 0.3, 0.7, 1.0, 1.0
    corners = volume.corners_mm
    bits = np.array([[(corner >> axis) & 1 for axis in (2, 1, 0)] for corner in range(8)])
    for a, b in combinations(range(8), 2):
        if np.abs(bits[a] - bits[b]).sum() == 1:  # corners that differ along one axis only
            for corner in (a, b):
                marker.points.append(Point(**mm_to_point_fields(corners[corner])))
    return marker
