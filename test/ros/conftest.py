"""A live ROS 2 graph for tests: own domain, real middleware, waiting on events."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)

rclpy = pytest.importorskip(
    "rclpy", reason="ROS 2 is not in this environment: run `make setup`, then `. ./env.sh`"
)
DOMAIN = 20 + os.getpid() % 180
"""A domain of this process alone, so that neighbours on the machine hear nothing."""


class Graph:
    """Nodes under test spin in a thread; the test publishes, listens and waits."""

    def __init__(self) -> None:
        from rclpy.executors import MultiThreadedExecutor
        from rclpy.node import Node

        self.executor = MultiThreadedExecutor(num_threads=2)
        self.node = Node("test")
        self.executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._added: list[Any] = []
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._spin)
        self._running = True
        self._thread.start()

    def _spin(self) -> None:
        while self._running:
            try:
                self.executor.spin_once(timeout_sec=0.05)
            except Exception as error:  # a node's own error, for the test to look at
                self.errors.append(error)
                return

    def add(self, node: Any) -> Any:
        """Spin a node under test and stop it at the end."""
        self.executor.add_node(node)
        self._added.append(node)
        return node

    def listen(self, message_type: type, topic: str, profile: Any) -> list[Any]:
        """Return a list that fills with the messages of a topic."""
        heard: list[Any] = []
        self.node.create_subscription(message_type, topic, heard.append, profile)
        return heard

    def publish(self, event: AcquisitionEvent, frame_id: str = "transducer") -> None:
        """Publish an event as the message that carries it."""
        from sensor_msgs.msg import Image
        from tf2_msgs.msg import TFMessage

        from us_recon.msg import ProbeGeometry
        from us_recon.ros import conversions, qos

        match event:
            case GeometryEvent():
                message = conversions.geometry_message(event.geometry, event.stamp_ns, frame_id)
                self.send("ultrasound/probe_geometry", ProbeGeometry, message, qos.LATCHED)
            case PoseEvent():
                message = TFMessage(transforms=[conversions.transform_stamped(event)])
                topic, profile = ("/tf_static", qos.STATIC_TF) if event.static else ("/tf", qos.TF)
                self.send(topic, TFMessage, message, profile)
            case ImageEvent():
                message = conversions.image_message(event.image, event.stamp_ns, event.frame_id)
                self.send("ultrasound/image", Image, message, qos.stream(True, 100))
            case LabelEvent():
                message = conversions.image_message(event.label, event.stamp_ns, frame_id)
                self.send("ultrasound/label", Image, message, qos.stream(True, 100))

    def send(self, topic: str, message_type: type, message: Any, profile: Any) -> None:
        """Publish a message; the first on a topic waits until every node under test listens."""
        readers = len(self._added)
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(message_type, topic, profile)
            publisher = self._publishers[topic]
            self.wait(lambda: publisher.get_subscription_count() >= readers, f"readers of {topic}")
        self._publishers[topic].publish(message)

    def wait(self, holds: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        """Wait until a condition holds; fail with what was waited for."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if self.errors:
                raise self.errors[0]
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s} s for {what}")
            time.sleep(0.01)

    def readers(self, topic: str) -> int:
        """Return how many subscriptions a topic of the test has."""
        return int(self._publishers[topic].get_subscription_count())

    def wait_for_error(self, message: str, timeout_s: float = 20.0) -> None:
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
