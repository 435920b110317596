"""The `scanning_cell` node: a virtual patient, probe and tracker instead of real ones."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rclpy.node import Node

from us_recon.geometry.pose_buffer import NS_PER_S
from us_recon.imaging.events import AcquisitionEvent
from us_recon.pipeline.node_settings import CellNodeSettings
from us_recon.pipeline.threads import use_one_thread
from us_recon.ros.event_publisher import EventPublisher
from us_recon.ros.parameters import declare_settings
from us_recon.ros.prefetch import prefetched
from us_recon.ros.running import run
from us_recon.simulation.options import cell_from_options
from us_recon.simulation.truth import write_truth

_POLL_S = 0.05
_SETTLE_S = 0.5
_AHEAD = 40  # events, some ten images at 30 Hz with poses at 100 Hz


class ScanningCellNode(Node):
    """Play the events of a virtual acquisition at their pace.

    Images are made some events ahead, so that poses are not held up. Where the machine is slower
    than the sweep, the sweep takes longer; nothing is left out.
    """

    def __init__(self, **node_options: Any) -> None:
        """Make the patient and start the sweep in a thread."""
        super().__init__("scanning_cell", **node_options)
        self.settings = declare_settings(self, CellNodeSettings)
        self.finished = Event()
        self._stopping = Event()
        self._prepared: list[AcquisitionEvent] = []
        self._publisher = EventPublisher(self)
        self.cell = cell_from_options(
            self.settings.scene,
            self.settings.probe,
            self.settings.seed,
            [
                f"image_rate_hz={self.settings.image_rate_hz}",
                f"label_every={self.settings.label_every}",
                *shlex.split(self.settings.options),
            ],
        )
        if self.settings.truth_dir:
            write_truth(self.cell, Path(self.settings.truth_dir))
        self._thread = Thread(target=self._run, name="us_recon sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the sweep."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        if self.settings.prepare:
            for event in self.cell.events():
                if self._stopping.is_set():
                    return
                self._prepared.append(event)
        self._await_readers()
        rounds = 0
        while not self._stopping.is_set() and (self.settings.loop or rounds == 0):
            self._sweep()
            rounds += 1
        self.finished.set()
        if self._stopping.is_set():  # the log's own publisher may be gone by now
            return
        self.get_logger().info(f"the sweep has ended: {self.cell.image_count} images")

    def _await_readers(self) -> None:
        wanted = self.settings.wait_for_subscribers
        while self._publisher.readers < wanted:
            if self._stopping.wait(_POLL_S):
                return
        if wanted > 0:  # their subscriptions are not found all at once, geometry's maybe last
            self._stopping.wait(_SETTLE_S)

    def _sweep(self) -> None:
        self.get_logger().info(
            f"sweep of {self.settings.scene}: {self.cell.image_count} images in "
            f"{self.cell.duration_s / self.settings.rate:.1f} s"
        )
        first_ns: int | None = None
        started_ns = self.get_clock().now().nanoseconds
        started_s = time.monotonic()
        with prefetched(self._prepared or self.cell.events(), _AHEAD) as events:
            for event in events:
                if first_ns is None:
                    first_ns = event.stamp_ns
                due_ns = round((event.stamp_ns - first_ns) / self.settings.rate)
                ahead_s = due_ns / NS_PER_S - (time.monotonic() - started_s)
                if self._stopping.wait(ahead_s) if ahead_s > 0 else self._stopping.is_set():
                    return
                self._publisher.publish(event, started_ns + due_ns)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    use_one_thread()
    return run(ScanningCellNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
