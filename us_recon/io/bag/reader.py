"""Read a rosbag2 bag as a stream of acquisition events."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError, storage_sqlite3
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from us_recon.errors import InputError
from us_recon.imaging.assembler import DropReason, FrameAssembler
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, LabelEvent
from us_recon.io import messages, wire
from us_recon.io.bag.topics import DEFAULT_TOPICS, TopicNames

# What must be known before an image is placed comes first where log times are equal.
_READ_ORDER = ("tf_static", "geometry", "tf", "pose", "label", "image")

_EXPECTED_TYPES = {
    "image": (messages.IMAGE, messages.COMPRESSED_IMAGE),
    "label": (messages.IMAGE, messages.COMPRESSED_IMAGE),
    "geometry": (messages.PROBE_GEOMETRY,),
    "tf": (messages.TF,),
    "tf_static": (messages.TF,),
    "pose": (messages.POSE,),
}


# What rosbags raises where a file or a message is damaged. It lets the errors of its SQLite driver
# through, and an absurd length in a damaged file ends as MemoryError.
_SQLITE_ERROR: type[Exception] = storage_sqlite3.apsw.Error  # type: ignore[attr-defined]
_UNDECODABLE = (SerdeError, TypesysError, AssertionError, LookupError, ValueError, struct.error)
_DAMAGED = (ReaderError, _SQLITE_ERROR, EOFError, OSError, TypeError, MemoryError, *_UNDECODABLE)


@dataclass(frozen=True)
class RejectedMessage:
    """A message that holds no usable event, and why."""

    stamp_ns: int
    topic: str
    role: str
    problem: str

    def count_in(self, assembler: FrameAssembler) -> None:
        """Count the message among what the assembler could not use."""
        if self.role == "image":
            assembler.images_received += 1
        reasons = {
            "geometry": DropReason.NO_GEOMETRY,
            "image": DropReason.IMAGE_FORMAT,
            "label": DropReason.IMAGE_FORMAT,
        }
        reason = reasons.get(self.role, DropReason.POSE_INVALID)
        assembler.drop(reason, f"{self.topic}: {self.problem}")


class RawMessage(NamedTuple):
    """A message as it lies in the bag."""

    topic: str
    typename: str
    log_ns: int
    data: bytes


class BagReader:
    """An open bag.

    Args:
        path: Folder of the bag, or one storage file (``.mcap``, ``.db3``).
        topics: Where to find images, geometry and poses.

    Raises:
        InputError: The bag is missing, broken or empty, or a topic has an unexpected type.
    """

    def __init__(self, path: Path, topics: TopicNames = DEFAULT_TOPICS) -> None:
        self.path = path
        self.topics = topics
        with _bag_errors(path):
            self._reader = Reader(path)
            self._reader.open()
        try:
            self._roles = self._find_roles()
            self._store = _typestore_of(self._reader.connections)
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> "BagReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def connections(self) -> list[Connection]:
        """Topics of the bag with their types, counts and offered quality of service."""
        return list(self._reader.connections)

    @property
    def duration_s(self) -> float:
        """Time from the first to the last message."""
        return max(self._reader.duration - 1, 0) / wire.NS_PER_S

    @property
    def has_images(self) -> bool:
        """Whether the image topic is in the bag."""
        return "image" in self._roles.values()

    def raw_messages(self) -> Iterator[RawMessage]:
        """Yield all messages of all topics, serialised, in the order of their log times."""
        for connection, log_ns, data in self._stream(self._reader.connections):
            yield RawMessage(connection.topic, connection.msgtype, log_ns, data)

    def events(self) -> Iterator[AcquisitionEvent | RejectedMessage]:
        """Yield what the known topics hold, in time order.

        Among messages of equal log time, transforms and geometry come before labels and images,
        so that the order does not depend on the storage format.
        """
        known = [c for c in self._reader.connections if c.topic in self._roles]
        for log_ns, group in groupby(self._stream(known), key=lambda item: item[1]):
            ordered = sorted(group, key=lambda item: self._rank(item[0]))
            for connection, _, data in ordered:
                yield from self._decode(connection, log_ns, data)

    def _stream(self, connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        if not connections:  # which rosbags takes as all of them
            return
        with _bag_errors(self.path):
            for connection, log_ns, data in self._reader.messages(connections):
                yield connection, log_ns, bytes(data)

    def _rank(self, connection: Connection) -> int:
        return _READ_ORDER.index(self._roles[connection.topic])

    def _decode(
        self, connection: Connection, log_ns: int, data: bytes
    ) -> Iterator[AcquisitionEvent | RejectedMessage]:
        role = self._roles[connection.topic]
        try:
            message = self._store.deserialize_cdr(data, connection.msgtype)
            yield from _events_of(role, message, connection.msgtype, self.topics.pose_child_frame)
        except InputError as error:
            yield RejectedMessage(log_ns, connection.topic, role, str(error))
        except _UNDECODABLE as error:
            problem = f"a {connection.msgtype} of {len(data)} bytes cannot be decoded: {error!r}"
            yield RejectedMessage(log_ns, connection.topic, role, problem)

    def _find_roles(self) -> dict[str, str]:
        if sum(connection.msgcount for connection in self._reader.connections) == 0:
            raise InputError(f"{self.path} holds no message; the recording was empty")
        roles = {getattr(self.topics, f"{role}_topic"): role for role in _READ_ORDER}
        roles.pop("", None)
        found = {c.topic: c.msgtype for c in self._reader.connections if c.topic in roles}
        for topic, typename in found.items():
            expected = _EXPECTED_TYPES[roles[topic]]
            if typename not in expected:
                raise InputError(
                    f"{self.path}: topic {topic} holds {typename}, not {' or '.join(expected)}; "
                    f"choose another topic for {roles[topic]!r}"
                )
        return {topic: roles[topic] for topic in found}


def _events_of(
    role: str, message: Any, typename: str, pose_child: str
) -> Iterator[AcquisitionEvent]:
    if role in ("tf", "tf_static"):
        yield from wire.poses_from_tf(message, static=role == "tf_static")
        return
    if role == "pose":
        yield wire.pose_from_pose_stamped(message, pose_child)
        return
    stamp_ns = wire.stamp_from_message(message.header.stamp)
    if role == "geometry":
        yield GeometryEvent(stamp_ns, wire.probe_geometry_from_message(message))
        return
    if typename == messages.COMPRESSED_IMAGE:
        pixels = wire.image_from_compressed_message(message)
    else:
        pixels = wire.image_from_message(message)
    frame_id = message.header.frame_id.lstrip("/")
    if role == "label":
        yield LabelEvent(stamp_ns, pixels, frame_id)
    else:
        yield ImageEvent(stamp_ns, pixels, frame_id)


def _typestore_of(connections: list[Connection]) -> Typestore:
    """Return the ROS 2 types with the definitions the bag itself brings."""
    store = get_typestore(Stores.ROS2_KILTED)
    for connection in connections:
        definition = connection.msgdef
        if connection.msgtype in store.fielddefs or not definition.data:
            continue
        try:
            if definition.format is MessageDefinitionFormat.IDL:
                types = get_types_from_idl(definition.data)
            else:
                types = get_types_from_msg(definition.data, connection.msgtype)
            store.register({name: t for name, t in types.items() if name not in store.fielddefs})
        except (TypesysError, SyntaxError):
            continue  # a topic of no interest here; one that matters fails with its own message
    if messages.PROBE_GEOMETRY not in store.fielddefs:
        return messages.own_typestore()
    return store


@contextmanager
def _bag_errors(path: Path) -> Iterator[None]:
    advice = "check the path, or repair the bag with `ros2 bag reindex`"
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} is not a bag: {str(error).rstrip('.')}; {advice}") from error
    except _DAMAGED as error:
        detail = str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as a bag: {detail}; {advice}") from error
