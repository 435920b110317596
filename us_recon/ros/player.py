"""Publish a bag over DDS, with ``/clock``, on machines without rosbag2."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection, QosDurability
from rosgraph_msgs.msg import Clock

from us_recon.errors import ConfigError, InputError
from us_recon.io.bag import BagReader, TopicNames
from us_recon.ros.conversions import time_message

NS_PER_S = 1_000_000_000
CLOCK_PERIOD_S = 0.01
"""Wall time between two ticks of ``/clock`` while nothing else is published."""
SETTLE_S = 0.5
"""How long the number of readers must stand still before the first message."""
ACKNOWLEDGE_S = 10.0
"""How long readers may take, at the end, to receive what was published."""
STREAM_DEPTH = 100

Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class PlayResult:
    """What was published.

    Attributes:
        messages: Messages, clock ticks not counted.
        rounds: Complete rounds through the bag.
        skipped: Topics whose message type is not installed here.
    """

    messages: int
    rounds: int
    skipped: tuple[str, ...]


def play_bag(
    path: Path,
    *,
    rate: float = 1.0,
    loop: bool = False,
    wait_s: float = 10.0,
    topics: TopicNames | None = None,
    on_progress: Progress | None = None,
    context: Context | None = None,
) -> PlayResult:
    """Publish the messages of a bag at the pace they were recorded, until the end or Ctrl-C.

    Messages go out as they lie in the bag, without being decoded. Publishers are reliable;
    ``/tf_static`` and what was recorded as transient local is kept for late readers.

    Args:
        path: Folder of the bag.
        rate: Speed, 1 as recorded.
        loop: Start again at the end. Time then runs backwards, which the nodes notice.
        wait_s: Longest time to wait for a reader of the images before the start.
        topics: Names of the topics; the image topic is the one that is waited for.
        on_progress: Called with the seconds and messages played so far.
        context: An initialised context; by default one of its own.

    Raises:
        InputError: The bag cannot be read or nothing of it can be published.
        ConfigError: `rate` is not above 0.
    """
    if not rate > 0:
        raise ConfigError(f"rate is {rate}; expected a speed above 0")
    topics = topics or TopicNames()
    with _node(context) as node, BagReader(path, topics) as bag:
        player = _Player(node, bag, on_progress)
        try:
            player.wait_for_readers(topics.image_topic, wait_s)
            player.play(rate)
            while loop:
                player.play(rate)
            player.wait_for_delivery()
        except KeyboardInterrupt:
            pass  # the usual end of a loop: the result says what was played
        return player.result


@contextmanager
def _node(context: Context | None) -> Iterator[Node]:
    own = context is None
    if context is None:
        context = Context()
        # Ctrl-C then interrupts the player and not the context under it.
        rclpy.init(context=context, signal_handler_options=rclpy.SignalHandlerOptions.NO)
    node = rclpy.create_node("us_recon_player", context=context, start_parameter_services=False)
    try:
        yield node
    finally:
        node.destroy_node()
        if own:
            context.try_shutdown()


class _Player:
    """Publishers for the topics of a bag."""

    def __init__(self, node: Node, bag: BagReader, on_progress: Progress | None) -> None:
        self._node, self._bag, self._on_progress = node, bag, on_progress
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._publishers: dict[str, Publisher] = {}
        self._skipped: set[str] = set()
        self._messages = self._rounds = 0
        for connection in bag.connections:
            message_class = _message_class(connection.msgtype)
            if message_class is None:
                self._skipped.add(connection.topic)
            elif connection.topic not in self._publishers and connection.topic != "/clock":
                profile = _profile(connection)
                publisher = node.create_publisher(message_class, connection.topic, profile)
                self._publishers[connection.topic] = publisher
        if not self._publishers:
            missing = ", ".join(sorted(self._skipped))
            raise InputError(f"{bag.path}: the message types of {missing} are not installed here")

    @property
    def result(self) -> PlayResult:
        return PlayResult(self._messages, self._rounds, tuple(sorted(self._skipped)))

    def wait_for_readers(self, topic: str, wait_s: float) -> None:
        """Wait until someone reads `topic` and no more readers turn up."""
        waited_for = self._publishers.get(topic)
        end = time.monotonic() + wait_s
        before, since = -1, time.monotonic()
        while waited_for is not None and time.monotonic() < end:
            readers = sum(p.get_subscription_count() for p in self._publishers.values())
            if readers != before:
                before, since = readers, time.monotonic()
            settled = time.monotonic() - since >= SETTLE_S
            if waited_for.get_subscription_count() > 0 and settled:
                return
            time.sleep(0.02)

    def play(self, rate: float) -> None:
        """Publish every message once, each when it is due."""
        start = time.monotonic()
        first_ns: int | None = None
        for message in self._bag.raw_messages():
            if first_ns is None:
                first_ns = message.log_ns
            self._tick_until(start, first_ns, message.log_ns, rate)
            publisher = self._publishers.get(message.topic)
            if publisher is not None:
                publisher.publish(message.data)
                self._messages += 1
            if self._on_progress is not None:
                self._on_progress((message.log_ns - first_ns) / NS_PER_S, self._messages)
        self._rounds += 1

    def wait_for_delivery(self) -> None:
        """Wait until every reader has everything, for at most `ACKNOWLEDGE_S`."""
        end = time.monotonic() + ACKNOWLEDGE_S
        for publisher in self._publishers.values():
            left_s = max(end - time.monotonic(), 0.0)
            publisher.wait_for_all_acked(Duration(seconds=left_s))

    def _tick_until(self, start: float, first_ns: int, due_ns: int, rate: float) -> None:
        """Let ``/clock`` run until a message is due, and to its very time."""
        due = start + (due_ns - first_ns) / NS_PER_S / rate
        while (left_s := due - time.monotonic()) > 0:
            elapsed_ns = (time.monotonic() - start) * rate * NS_PER_S
            self._publish_clock(first_ns + int(elapsed_ns))
            time.sleep(min(left_s, CLOCK_PERIOD_S))
        self._publish_clock(due_ns)

    def _publish_clock(self, stamp_ns: int) -> None:
        self._clock.publish(Clock(clock=time_message(stamp_ns)))


def _message_class(typename: str) -> Any | None:
    package, _, name = typename.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def _profile(connection: Connection) -> QoSProfile:
    offered = getattr(connection.ext, "offered_qos_profiles", [])
    latched = connection.topic == "/tf_static" or any(
        qos.durability is QosDurability.TRANSIENT_LOCAL for qos in offered
    )
    depth = max([STREAM_DEPTH] if not latched else [1, *(qos.depth for qos in offered)])
    return QoSProfile(
        depth=STREAM_DEPTH if connection.topic == "/tf_static" else depth,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE),
    )
