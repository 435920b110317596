"""From a stream of events to tracked frames, or to counted reasons why there is none.

The same object serves a live node, a bag and the simulator. It waits for poses in stream time
only, never by the clock, so that a replay gives the same frames.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.errors import InputError
from us_recon.geometry.pose_buffer import (
    NS_PER_S,
    PoseLookup,
    PoseStatus,
    TransformTree,
)
from us_recon.geometry.rigid import is_rigid, nearest_rigid
from us_recon.imaging.assembler_settings import AssemblerSettings, DropReason
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.orientation import normalise_orientation
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.view_box import ViewBox

__all__ = ["AssemblerSettings", "DropReason", "FrameAssembler"]

_LEFT_OUT_IMAGES = 100  # whose labels may still come


class FrameAssembler:
    """Match images with poses, geometry and labels.

    `push` takes events in the order they arrive and returns the frames that became complete, in
    the order of their images. `drops` counts what was left out by reason; `details` holds the
    newest message for each reason. An image more than a second older than the newest one means
    that a recording started again: `restarts` counts that, and the new pass is followed.
    """

    def __init__(
        self, settings: AssemblerSettings | None = None, late_labels: bool = False
    ) -> None:
        """Start a stream.

        Args:
            settings: How images find their poses.
            late_labels: Give a frame out once more, marked `late`, where its label comes after it
                was given out. Otherwise such labels are dropped and counted.
        """
        self.settings = settings or AssemblerSettings()
        self._box = ViewBox.of(self.settings.box_mm)
        self.tree = TransformTree(self.settings.pose_limits())
        self.geometry: ProbeGeometry | None = None
        self.images_received = 0
        self.poses_received = 0
        self.frames_assembled = 0
        self.restarts = 0
        self.drops: Counter[DropReason] = Counter()
        self.details: dict[DropReason, str] = {}
        self._pending: deque[_Waiting] = deque()
        self._without_geometry: deque[ImageEvent] = deque()
        self._labels: dict[int, UInt8[np.ndarray, "rows columns"]] = {}
        self._newest_image_ns: int | None = None
        kept = self.settings.label_late_images if late_labels else 0
        self._unlabelled: deque[TrackedFrame] = deque(maxlen=kept)
        self._left_out: deque[tuple[int, DropReason]] = deque(maxlen=_LEFT_OUT_IMAGES)

    @property
    def pending(self) -> int:
        """Images that wait for a geometry, a pose or a label."""
        return len(self._pending) + len(self._without_geometry)

    @property
    def waiting_for(self) -> str:
        """What the oldest waiting image waits for, or an empty string."""
        return self._pose_of(self._pending[0]).detail if self._pending else ""

    def push(self, event: AcquisitionEvent) -> list[TrackedFrame]:
        """Take one event and return the frames that it completed."""
        match event:
            case GeometryEvent():
                self.geometry = event.geometry
                while self._without_geometry:
                    self._take_image(self._without_geometry.popleft())
            case PoseEvent():
                self._take_pose(event)
            case ImageEvent():
                self.images_received += 1
                self._take_image(event)
            case LabelEvent():
                given_out = [f for f in self._unlabelled if f.stamp_ns == event.stamp_ns]
                if given_out:
                    return self._late(given_out[0], event.label)
                self._keep_label(event)
        return self._release(at_end=False)

    def finish(self) -> list[TrackedFrame]:
        """Return the frames still complete at the end of a stream; drop those without a pose."""
        while self._without_geometry:
            self._drop_without_geometry()
        frames = self._release(at_end=True)
        for stamp_ns in list(self._labels):
            self._drop_label(stamp_ns)
        return frames

    def drop(self, reason: DropReason, detail: str) -> None:
        """Count something that was left out, with the message a user will see."""
        self.drops[reason] += 1
        self.details[reason] = detail

    def told_drops(self) -> list[str]:
        """Say what was left out, how often and why: a line for each reason."""
        return [
            f"dropped {count} ({reason}): {self.details[reason]}"
            for reason, count in self.drops.items()
        ]

    def _leave_out(self, stamp_ns: int, reason: DropReason, detail: str) -> None:
        """Drop an image; its label, which goes with it, may still come."""
        self.drop(reason, detail)
        self._left_out.append((stamp_ns, reason))

    def _restart(self, stamp_ns: int) -> None:
        """Go back to a time: forget waiting images, labels, and the poses after it.

        Poses up to a second later are kept: those of the new pass may come before its images.
        """
        for _ in range(len(self._pending)):
            self.drop(DropReason.POSE_MISSING, "time ran backwards while an image waited")
        self._pending.clear()
        self._labels.clear()
        self._unlabelled.clear()
        self._newest_image_ns = None
        self.tree.forget_after(stamp_ns + NS_PER_S)
        self.restarts += 1

    def _take_pose(self, event: PoseEvent) -> None:
        if not event.static:
            self.poses_received += 1
        problem = _pose_problem(event)
        if problem:
            self.drop(DropReason.POSE_INVALID, f"{event.parent} -> {event.child}: {problem}")
            return
        T = nearest_rigid(event.T_parent_child)
        try:
            if event.static:
                self.tree.add_static(event.parent, event.child, T)
            else:
                self.tree.add_moving(event.parent, event.child, event.stamp_ns, T)
        except InputError as error:
            self.drop(DropReason.POSE_FRAME, str(error))

    def _take_image(self, event: ImageEvent) -> None:
        if event.frame_id != self.settings.transducer_frame:
            self._leave_out(
                event.stamp_ns,
                DropReason.IMAGE_FRAME,
                f"image frame is {event.frame_id!r}; expected {self.settings.transducer_frame!r} "
                "(set transducer_frame or the image's frame_id)",
            )
            return
        if self.geometry is None:
            self._without_geometry.append(event)
            while len(self._without_geometry) > self.settings.max_pending_images:
                self._drop_without_geometry()
            return
        image = normalise_orientation(event.image, self.geometry.orientation)
        if image.shape != self.geometry.shape:
            self._leave_out(
                event.stamp_ns,
                DropReason.IMAGE_SIZE,
                f"image is {image.shape[1]}x{image.shape[0]}, the probe geometry describes "
                f"{self.geometry.width_px}x{self.geometry.height_px}; "
                "publish the geometry of the new size",
            )
            return
        if self._newest_image_ns is not None and event.stamp_ns < self._newest_image_ns - NS_PER_S:
            self._restart(event.stamp_ns)
        if self._newest_image_ns is not None and event.stamp_ns <= self._newest_image_ns:
            self.drop(
                DropReason.IMAGE_STALE,
                f"image stamp {event.stamp_ns / NS_PER_S:.3f} s is not newer than the one before",
            )
            return
        self._newest_image_ns = event.stamp_ns
        self._pending.append(_Waiting(event.stamp_ns, image, self.geometry))

    def _drop_without_geometry(self) -> None:
        self._leave_out(
            self._without_geometry.popleft().stamp_ns,
            DropReason.NO_GEOMETRY,
            "no probe geometry has arrived; publish a ProbeGeometry (transient local)",
        )

    def _release(self, at_end: bool) -> list[TrackedFrame]:
        frames: list[TrackedFrame] = []
        while self._pending:
            waiting = self._pending[0]
            found = self._pose_of(waiting)
            overdue = at_end or len(self._pending) > self.settings.max_pending_images
            if _may_still_come(found.status) and not overdue:
                break
            if found.T is not None and not at_end and self._awaits_label(waiting):
                break
            self._pending.popleft()
            if found.T is None:
                self._leave_out(waiting.stamp_ns, _DROP_OF_STATUS[found.status], found.detail)
                continue
            if self._box is not None and not self._box.is_shown(found.T, waiting.geometry):
                at_mm = ", ".join(f"{value:.0f}" for value in found.T[:3, 3])
                self._leave_out(
                    waiting.stamp_ns,
                    DropReason.OUTSIDE_BOX,
                    f"the probe is at ({at_mm}) mm and its image shows nothing of box_mm; "
                    "move the box or the probe",
                )
                continue
            frames.append(self._frame(waiting, found.T))
        return frames

    def _pose_of(self, waiting: "_Waiting") -> PoseLookup:
        offset_ns = round(self.settings.image_time_offset_s * NS_PER_S)
        settings = self.settings
        return self.tree.lookup(
            settings.world_frame, settings.transducer_frame, waiting.stamp_ns + offset_ns
        )

    def _awaits_label(self, waiting: "_Waiting") -> bool:
        newer = len(self._pending) - 1
        return waiting.stamp_ns not in self._labels and newer < self.settings.label_wait_images

    def _frame(
        self, waiting: "_Waiting", T_world_transducer: Float64[np.ndarray, "4 4"]
    ) -> TrackedFrame:
        self.frames_assembled += 1
        frame = TrackedFrame(waiting.stamp_ns, waiting.image, T_world_transducer, waiting.geometry)
        for stamp_ns in [stamp for stamp in self._labels if stamp < waiting.stamp_ns]:
            self._drop_label(stamp_ns)
        label = self._labels.pop(waiting.stamp_ns, None)
        labelled = None if label is None else self._labelled(frame, label)
        if labelled is None:
            self._unlabelled.append(frame)
        return labelled or frame

    def _labelled(
        self, frame: TrackedFrame, label: UInt8[np.ndarray, "rows columns"]
    ) -> TrackedFrame | None:
        """Return the frame with its label, None where that has another size."""
        label = normalise_orientation(label, frame.geometry.orientation)
        if label.shape == frame.image.shape:
            return replace(frame, label=label)
        self.drop(
            DropReason.LABEL_UNMATCHED,
            f"label is {label.shape[1]}x{label.shape[0]}, its image is "
            f"{frame.image.shape[1]}x{frame.image.shape[0]}",
        )
        return None

    def _late(
        self, frame: TrackedFrame, label: UInt8[np.ndarray, "rows columns"]
    ) -> list[TrackedFrame]:
        """Return a frame once more that was given out without its label."""
        labelled = self._labelled(frame, label)
        if labelled is None:
            return []
        self._unlabelled.remove(frame)
        return [replace(labelled, late=True)]

    def _keep_label(self, event: LabelEvent) -> None:
        """Keep a label for its image; no more of them than there are images waiting at most."""
        self._labels[event.stamp_ns] = event.label
        while len(self._labels) > self.settings.max_pending_images:
            self._drop_label(min(self._labels))

    def _drop_label(self, stamp_ns: int) -> None:
        del self._labels[stamp_ns]
        reason = dict(self._left_out).get(stamp_ns)
        detail = f"a label's image was left out ({reason})"
        if reason is None:
            detail = "a label had no image of the same stamp"
        self.drop(DropReason.LABEL_UNMATCHED, detail)


@dataclass(frozen=True, eq=False)
class _Waiting:
    stamp_ns: int
    image: UInt8[np.ndarray, "rows columns"]
    geometry: ProbeGeometry


_DROP_OF_STATUS = {
    PoseStatus.WAIT: DropReason.POSE_MISSING,
    PoseStatus.NO_PATH: DropReason.POSE_MISSING,
    PoseStatus.TOO_OLD: DropReason.POSE_MISSING,
    PoseStatus.GAP: DropReason.POSE_GAP,
    PoseStatus.TURN: DropReason.POSE_TURN,
    PoseStatus.JUMP: DropReason.POSE_JUMP,
}


def _may_still_come(status: PoseStatus) -> bool:
    # A path may appear with the first transform of a frame, so an unknown path waits too.
    return status in (PoseStatus.WAIT, PoseStatus.NO_PATH)


def _pose_problem(event: PoseEvent) -> str:
    T = event.T_parent_child
    if not is_rigid(T, tolerance=1e-3):
        return "not a finite rigid transform"
    # Trackers and bridges report a lost body as exactly the identity, which no measurement is.
    if not event.static and np.array_equal(T, np.eye(4)):
        return "exactly the identity, as reported for a body that is not seen"
    return ""
