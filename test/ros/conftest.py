"""A live ROS 2 graph for tests: own domain, real middleware, waiting on events."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from us_recon.imaging.events import AcquisitionEvent

rclpy = pytest.importorskip(
    "rclpy", reason="ROS 2 is not in this environment: run `make setup`, then `. ./env.sh`"
)
DOMAIN = 20 + 2 * (os.getpid() % 90)
"""A domain of this process alone, so that neighbours on the machine hear nothing; the next one is
its launch files'."""


class Graph:
    """Nodes under test spin in a thread; the test publishes, listens and waits."""

    def __init__(self) -> None:
        from rclpy.executors import MultiThreadedExecutor
        from rclpy.node import Node

        self.executor = MultiThreadedExecutor(num_threads=2)
        self.node = Node("test")
        self.executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._events: Any = None
        self._added: list[Any] = []
        self._others = 0
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._spin)
        self._running = True
        self._thread.start()

    def _spin(self) -> None:
        while self._running:
            try:
                self.executor.spin_once(timeout_sec=0.05)
            except Exception as error:  # noqa: BLE001 - a node's own, for the test to look at
                self.errors.append(error)
                return

    def expect_readers(self, count: int) -> None:
        """Wait, before publishing, for this many nodes in other processes too."""
        self._others = count

    def add(self, node: Any) -> Any:
        """Spin a node under test and stop it at the end."""
        self.executor.add_node(node)
        self._added.append(node)
        return node

    def remove(self, node: Any) -> None:
        """Stop a node before the end of the test."""
        self.executor.remove_node(node)
        self._added.remove(node)
        node.stop()
        node.destroy_node()

    def listen(self, message_type: type, topic: str, profile: Any) -> list[Any]:
        """Return a list that fills with the messages of a topic."""
        heard: list[Any] = []
        self.node.create_subscription(message_type, topic, heard.append, profile)
        return heard

    def publish(self, event: AcquisitionEvent) -> None:
        """Publish an event as the message that carries it."""
        if self._events is None:
            from us_recon.ros.event_publisher import EventPublisher

            self._events = EventPublisher(self.node)
        wanted, events = len(self._added) + self._others, self._events
        self.wait(lambda: events.readers >= wanted, "readers of the streams")
        self._events.publish(event, event.stamp_ns)

    def send(self, topic: str, message_type: type, message: Any, profile: Any) -> None:
        """Publish a message; the first on a topic waits until every node under test listens."""
        readers = len(self._added)
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(message_type, topic, profile)
            publisher = self._publishers[topic]
            self.wait(lambda: publisher.get_subscription_count() >= readers, f"readers of {topic}")
        self._publishers[topic].publish(message)

    def wait(self, holds: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        """Wait until a condition holds; fail with what was waited for."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if self.errors:
                raise self.errors[0]
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s} s for {what}")
            time.sleep(0.01)

    def wait_for_error(self, message: str, timeout_s: float = 60.0) -> None:
        """Wait until a node raised an error that holds a message."""
        deadline = time.monotonic() + timeout_s
        while not self.errors and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.errors and message in str(self.errors[0])

    def close(self) -> None:
        """Stop everything."""
        self._running = False
        self._thread.join()
        for node in self._added:
            node.stop()
            node.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph in a domain of its own, torn down after the test."""
    rclpy.init(domain_id=DOMAIN)
    made = Graph()
    yield made
    made.close()
    rclpy.shutdown()
