"""Start nodes as processes and watch what they publish."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from us_recon.errors import UsReconError
from us_recon.geometry.rigid import Matrix4
from us_recon.io.wire import transform_to_matrix_mm
from us_recon.msg import MappingStatus, RegistrationStatus
from us_recon.ros import qos

_STOP_S = 20.0


@dataclass
class NodeProcess:
    """One node of this package, running as a process of its own."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raise UsReconError with the end of its log if it ended with an error."""
        status = self.process.poll()
        if status not in (None, 0):
            tail = self.log.read_text(errors="replace")[-2000:]
            raise UsReconError(f"{self.name} ended with status {status}:\n{tail}")

    def stop(self) -> None:
        """Interrupt it and wait; it saves what it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def running_node(
    name: str, parameters: Mapping[str, Any], folder: Path, domain_id: int
) -> Iterator[NodeProcess]:
    """Run a node with these parameters; its log and parameter file go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parameter_file = folder / f"{name}.yaml"
    parameter_file.write_text(yaml.safe_dump({name: {"ros__parameters": dict(parameters)}}))
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", f"us_recon.ros.nodes.{name}"]
    command += ["--ros-args", "--params-file", str(parameter_file)]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        node = NodeProcess(
            name,
            subprocess.Popen(command, stdout=output, stderr=output, env=environment),
            log,
        )
        try:
            yield node
        finally:
            node.stop()


@dataclass
class Heard:
    """The newest of what the nodes published.

    Attributes:
        mapping: Status of the mapper.
        registration: Status of the registration.
        transforms: Pose of a child in its parent (mm) by (parent, child), moving ones.
    """

    mapping: MappingStatus | None = None
    registration: RegistrationStatus | None = None
    transforms: dict[tuple[str, str], Matrix4] = field(default_factory=dict)


class Watcher:
    """A node that listens to the others and calls their services."""

    def __init__(self, domain_id: int) -> None:
        """Join the domain."""
        self.heard = Heard()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = Node("us_recon_watcher", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(
            MappingStatus, "/occupancy_mapper/status", self._take_mapping, qos.STATUS
        )
        self._node.create_subscription(
            RegistrationStatus, "/mri_registration/status", self._take_registration, qos.STATUS
        )
        self._node.create_subscription(TFMessage, "/tf", self._take_tf, qos.TF)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def watch(
        self,
        done: Callable[[Heard], bool],
        nodes: list[NodeProcess],
        on_news: Callable[[Heard], None],
        timeout_s: float,
    ) -> None:
        """Listen until `done`, telling `on_news` a few times a second.

        Raises:
            UsReconError: A node ended with an error, or `done` did not come true in time.
        """
        deadline = time.monotonic() + timeout_s
        told = 0.0
        while not done(self.heard):
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() - told > 0.2:
                told = time.monotonic()
                on_news(self.heard)
                for node in nodes:
                    node.check()
            if time.monotonic() > deadline:
                raise UsReconError(f"the nodes did not finish within {timeout_s:.0f} s")
        on_news(self.heard)

    def call(self, service: str, timeout_s: float = 30.0) -> str:
        """Call a `Trigger` service and return its message.

        Raises:
            UsReconError: There is no such service, or it failed.
        """
        client = self._node.create_client(Trigger, service)
        if not client.wait_for_service(timeout_sec=timeout_s):
            raise UsReconError(f"no node offers the service {service}")
        future = client.call_async(Trigger.Request())
        self._executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        response = future.result()
        if response is None or not response.success:
            raise UsReconError(f"{service} failed: {response.message if response else 'no answer'}")
        return str(response.message)

    def _take_mapping(self, message: MappingStatus) -> None:
        self.heard.mapping = message

    def _take_registration(self, message: RegistrationStatus) -> None:
        self.heard.registration = message

    def _take_tf(self, message: TFMessage) -> None:
        for item in message.transforms:
            key = (item.header.frame_id, item.child_frame_id)
            self.heard.transforms[key] = transform_to_matrix_mm(item.transform)
