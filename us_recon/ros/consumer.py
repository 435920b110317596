"""What the two nodes that consume tracked frames have in common."""

from abc import ABC, abstractmethod
from typing import Any

from rclpy.node import Node

from us_recon.errors import UsReconError
from us_recon.geometry.pose_buffer import NS_PER_S
from us_recon.imaging.assembler import AssemblerSettings, DropReason
from us_recon.imaging.frame import TrackedFrame
from us_recon.pipeline.node_settings import ConsumerSettings, SourceSettings
from us_recon.pipeline.statistics import StreamStatistics
from us_recon.ros.frame_source import FrameSource
from us_recon.ros.parameters import declare_settings
from us_recon.ros.worker import Worker


class FrameConsumer(Node, ABC):
    """A node that takes tracked frames from a `FrameSource` into a `Worker`.

    Sub-classes give `work` (one frame, in the worker's thread), `refresh` (publish a snapshot,
    in the worker's thread, between two frames) and `publish_status`.
    """

    late_labels = False
    """Whether a frame is wanted once more when its label comes after it."""

    def __init__(self, name: str, **node_options: Any) -> None:
        """Declare the common parameters; sub-classes call `start` when they are ready.

        Args:
            name: Name of the node.
            node_options: Further arguments of `rclpy.node.Node`.
        """
        super().__init__(name, **node_options)
        self.assembler_settings = declare_settings(self, AssemblerSettings)
        self.source_settings = declare_settings(self, SourceSettings)
        self.consumer_settings = declare_settings(self, ConsumerSettings)
        self.statistics = StreamStatistics()
        self.frames_used = 0
        self.newest_ns = 0
        self._heard_at = self.get_clock().now()
        self._images_heard = 0

    def start(self, refresh_period_s: float) -> None:
        """Start the worker, the subscriptions and the timers."""
        self.worker: Worker[TrackedFrame] = Worker(
            self._work, self._refresh, self._overflowed, self.consumer_settings.queue_frames
        )
        self.source = FrameSource(
            self, self.source_settings, self.assembler_settings, self._on_frame, self.late_labels
        )
        self.create_timer(self.consumer_settings.status_period_s, self._on_status_timer)
        self.create_timer(refresh_period_s, self.worker.request_idle)

    @abstractmethod
    def work(self, frame: TrackedFrame) -> None:
        """Use one frame. Runs in the worker's thread."""

    @abstractmethod
    def refresh(self) -> None:
        """Publish the newest result. Runs in the worker's thread."""

    def go_on(self) -> None:
        """Do what may take long, until the worker is wanted. Runs in the worker's thread."""

    @abstractmethod
    def publish_status(self) -> None:
        """Publish the node's status. Runs in the executor."""

    def stop(self) -> None:
        """Finish the frames that wait and end the worker."""
        self.worker.stop()

    @property
    def stalled(self) -> bool:
        """Whether images came once and no longer do."""
        received = self.source.assembler.images_received
        if received != self._images_heard:
            self._images_heard, self._heard_at = received, self.get_clock().now()
        silent_s = (self.get_clock().now() - self._heard_at).nanoseconds / NS_PER_S
        return received > 0 and silent_s > self.consumer_settings.stall_after_s

    def count_fields(self) -> dict[str, Any]:
        """Return the fields that both status messages share."""
        assembler = self.source.assembler
        drops = dict(sorted(assembler.drops.items()))
        return {
            "frames_received": assembler.images_received,
            "frames_used": self.frames_used,
            "frames_dropped": sum(drops.values()),
            "drop_reasons": [str(reason) for reason in drops],
            "drop_counts": list(drops.values()),
            "backlog": self.worker.backlog + assembler.pending,
            "image_rate": self.statistics.rate_hz,
            "latency_median": self.statistics.latency_median_s,
            "latency_max": self.statistics.latency_max_s,
        }

    def _on_frame(self, frame: TrackedFrame) -> None:
        if not frame.late:
            self.statistics.arrived(frame.stamp_ns)
        self.worker.put(frame)

    def _work(self, frame: TrackedFrame) -> None:
        self.work(frame)
        if not frame.late:  # which was counted when it came
            self.frames_used += 1
            self.newest_ns = frame.stamp_ns
            now_ns = self.get_clock().now().nanoseconds
            self.statistics.processed((now_ns - frame.stamp_ns) / NS_PER_S)
        self.go_on()

    def _refresh(self) -> None:
        self.refresh()
        self.go_on()

    def _overflowed(self, frame: TrackedFrame) -> None:
        detail = (
            f"{self.consumer_settings.queue_frames} frames wait for the worker; "
            f"the one of {frame.stamp_ns / NS_PER_S:.3f} s was dropped"
        )
        self.source.assembler.drop(DropReason.BACKLOG, detail)

    def _on_status_timer(self) -> None:
        self.source.warn_of_new_drops()
        if self.worker.error is not None:
            raise UsReconError(
                f"{self.get_name()} stopped working: {self.worker.error}"
            ) from self.worker.error
        self.publish_status()
