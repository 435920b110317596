"""Write an acquisition as a rosbag2 bag."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.io import messages, wire
from us_recon.io.bag.topics import DEFAULT_TOPICS, TopicNames

_FOREVER = QosTime(9_223_372_036, 854_775_807)


class Storage(StrEnum):
    """File format of a bag."""

    MCAP = "mcap"
    SQLITE3 = "sqlite3"


def truth_folder(bag: Path) -> Path:
    """Return the folder inside a bag that holds what is known of the scanned object."""
    return bag / "truth"


def write_bag(
    path: Path,
    events: Iterable[AcquisitionEvent],
    *,
    storage: Storage = Storage.MCAP,
    topics: TopicNames = DEFAULT_TOPICS,
    truth: Iterable[Path] = (),
    overwrite: bool = False,
) -> dict[str, int]:
    """Write events as a bag and return the number of messages by topic.

    Each message is logged at its own stamp. Static transforms and the geometry are offered as
    transient local, so that a player gives them to late subscribers too.

    Args:
        path: Folder of the bag; it appears whole or not at all.
        events: Events in time order; only one is held at a time.
        storage: MCAP, or sqlite3 for tools that know nothing else.
        topics: Names of the topics.
        truth: Files copied into the bag's `truth_folder`, which bag players ignore.
        overwrite: Whether a bag that is there already may be replaced.

    Raises:
        InputError: The bag exists already or cannot be written, there are no events, or a truth
            file is missing.
    """
    truth = list(truth)
    for source in truth:
        if not source.is_file():
            raise InputError(f"truth file {source} does not exist or is no file")
    with _write_errors(path), atomic_path(path, overwrite=overwrite) as partial:
        plugin = StoragePlugin.MCAP if storage is Storage.MCAP else StoragePlugin.SQLITE3
        with Writer(partial, version=9, storage_plugin=plugin) as bag:
            writer = _EventWriter(bag, topics)
            for event in events:
                writer.write(event)
        if not writer.counts:
            raise InputError(f"{path}: nothing to write, the recording holds no image and no pose")
        for source in truth:
            folder = truth_folder(partial)
            folder.mkdir(exist_ok=True)
            (folder / source.name).write_bytes(source.read_bytes())
    return dict(writer.counts)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


class _EventWriter:
    """Turn events into messages of an open bag."""

    def __init__(self, bag: Writer, topics: TopicNames) -> None:
        self.counts: Counter[str] = Counter()
        self._bag = bag
        self._topics = topics
        self._store = messages.own_typestore()
        self._connections: dict[str, Connection] = {}

    def write(self, event: AcquisitionEvent) -> None:
        stamp_ns = event.stamp_ns
        match event:
            case ImageEvent():
                fields = wire.image_to_fields(event.image, stamp_ns, event.frame_id)
                self._send(self._topics.image_topic, messages.IMAGE, stamp_ns, fields)
            case LabelEvent():
                fields = wire.image_to_fields(event.label, stamp_ns, event.frame_id)
                self._send(self._topics.label_topic, messages.IMAGE, stamp_ns, fields)
            case PoseEvent():
                topic = self._topics.tf_static_topic if event.static else self._topics.tf_topic
                fields = {"transforms": [wire.pose_to_transform_stamped_fields(event)]}
                self._send(
                    topic, messages.TF, stamp_ns, fields, qos=_qos(100, latched=event.static)
                )
            case GeometryEvent():
                fields = wire.probe_geometry_to_fields(event.geometry, stamp_ns, "transducer")
                topic = self._topics.geometry_topic
                self._send(
                    topic, messages.PROBE_GEOMETRY, stamp_ns, fields, qos=_qos(1, latched=True)
                )

    def _send(
        self,
        topic: str,
        typename: str,
        stamp_ns: int,
        fields: dict[str, Any],
        qos: Qos | None = None,
    ) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._bag.add_connection(
                topic,
                typename,
                typestore=self._store,
                offered_qos_profiles=[qos or _qos(10, latched=False)],
            )
        message = messages.make_message(self._store, typename, fields)
        data = self._store.serialize_cdr(message, typename)
        self._bag.write(self._connections[topic], stamp_ns, data)
        self.counts[topic] += 1


def _qos(depth: int, latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
