"""ROS messages without ROS: the message types that bags hold, built and read by `rosbags`."""

import os
import site
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from us_recon.errors import InputError

PACKAGE = "us_recon"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
TF = "tf2_msgs/msg/TFMessage"
POSE = "geometry_msgs/msg/PoseStamped"
PROBE_GEOMETRY = f"{PACKAGE}/msg/ProbeGeometry"


def message_folder() -> Path:
    """Return the folder of this package's ``.msg`` files: of the checkout, or as installed.

    Raises:
        InputError: The files are in none of the places where an installation puts them.
    """
    folders = list(_candidate_folders())
    for folder in folders:
        if (folder / "ProbeGeometry.msg").is_file():
            return folder
    looked = ", ".join(map(str, folders))
    raise InputError(
        f"the message definitions of {PACKAGE} are missing; looked in {looked}; reinstall"
    )


@cache
def own_typestore() -> Typestore:
    """Return the message types of ROS 2 together with this package's own."""
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted(message_folder().glob("*.msg")):
        store.register(get_types_from_msg(path.read_text("utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    return store


def make_message(store: Typestore, typename: str, fields: Mapping[str, Any]) -> Any:
    """Build a message, with the messages inside it, from plain values.

    Args:
        store: Knows `typename` and the types of its fields.
        typename: For example ``sensor_msgs/msg/Image``.
        fields: A value for every field; mappings for messages, sequences of mappings for arrays
            of messages.
    """
    values = {}
    for name, (node, detail) in store.get_msgdef(typename).fields:
        value = fields[name]
        if node is Nodetype.NAME:
            value = make_message(store, str(detail), value)
        elif node in (Nodetype.ARRAY, Nodetype.SEQUENCE) and detail[0][0] is Nodetype.NAME:
            value = [make_message(store, str(detail[0][1]), item) for item in value]
        values[name] = value
    return store.types[typename](**values)


def _candidate_folders() -> Iterator[Path]:
    for ancestor in Path(__file__).resolve().parents:
        yield ancestor / "msg"
        yield ancestor / "share" / PACKAGE / "msg"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / PACKAGE / "msg"
    yield Path(site.getuserbase()) / "share" / PACKAGE / "msg"
