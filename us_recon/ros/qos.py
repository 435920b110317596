"""Quality of service of each kind of topic."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
)
"""Meshes, geometry and boxes: whoever comes late gets the newest one."""

STATIC_TF = QoSProfile(
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
)
"""``/tf_static``, as tf2 publishes and reads it."""

TF = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
"""``/tf``: deep, so that a busy moment loses no pose."""

STATUS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""Status messages."""


def stream(reliable: bool, depth: int) -> QoSProfile:
    """Return the profile of an image or label stream.

    Args:
        reliable: True loses nothing (replays); False drops late data (sensors).
        depth: Messages kept for a slow reader.
    """
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=depth, reliability=reliability, history=HistoryPolicy.KEEP_LAST)
