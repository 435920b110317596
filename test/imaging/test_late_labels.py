"""Labels that come late, in another order or twice, as from an annotator or a slow network."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.assembler import AssemblerSettings, DropReason, FrameAssembler
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

GEOMETRY = ProbeGeometry.linear(10.0, 10.0, 20, 20, beam_count=10, sample_count=20)
COUNT, APART_NS = 12, 100_000_000
STAMPS = [1_000_000_000 + APART_NS * k for k in range(COUNT)]


def label(k: int) -> np.ndarray:
    """Return a mask that tells which image it belongs to."""
    made = np.zeros(GEOMETRY.shape, np.uint8)
    made[k + 1 :] = 1
    return made


def scan() -> Iterator[AcquisitionEvent]:
    """Yield the geometry, then pose and image by turns."""
    yield GeometryEvent(0, GEOMETRY)
    for k, stamp_ns in enumerate(STAMPS):
        T = from_euler_xyz_deg(np.array([1.0, 0.0, k]), np.zeros(3))
        yield PoseEvent(stamp_ns, T, "world", "transducer")
        yield ImageEvent(stamp_ns, np.full(GEOMETRY.shape, 9, np.uint8), "transducer")


def assembled(
    labels: Sequence[tuple[int, int]], wait: int, late: bool = False, **settings: int
) -> tuple[list[TrackedFrame], FrameAssembler]:
    """Return the frames where, for each pair (k, after), label k comes right after that image."""
    made = FrameAssembler(AssemblerSettings(label_wait_images=wait, **settings), late)
    frames: list[TrackedFrame] = []
    image = -1
    for event in scan():
        frames += made.push(event)
        if not isinstance(event, ImageEvent):
            continue
        image += 1
        for k, after in labels:
            if after == image:
                frames += made.push(LabelEvent(STAMPS[k], label(k)))
    return frames + made.finish(), made


def held(frames: Sequence[TrackedFrame]) -> list[int]:
    """Return which frames have a label, after a look that it is their own."""
    for k, frame in enumerate(frames):
        if frame.label is not None:
            np.testing.assert_array_equal(frame.label, label(k))
    return [k for k, frame in enumerate(frames) if frame.label is not None]


@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_a_label_may_be_as_late_as_its_image_waits(late: int) -> None:
    # An image waits for two newer ones: released at the second of them, before what comes later.
    frames, made = assembled([(k, k + late) for k in range(0, COUNT - late, 3)], wait=2)
    in_time = late < 2
    assert len(frames) == COUNT
    assert held(frames) == (list(range(0, COUNT - late, 3)) if in_time else [])
    lost = 0 if in_time else len(range(0, COUNT - late, 3))
    assert made.drops[DropReason.LABEL_UNMATCHED] == lost


def test_the_order_of_labels_does_not_matter() -> None:
    # Labels 5, 3 and 4 come together after image 5, the newest first.
    frames, made = assembled([(5, 5), (3, 5), (4, 5)], wait=4)
    assert held(frames) == [3, 4, 5]
    assert [frame.stamp_ns for frame in frames] == STAMPS
    assert not made.drops


def test_a_label_sent_twice_counts_once() -> None:
    frames, made = assembled([(4, 4), (4, 5)], wait=2)
    assert held(frames) == [4]
    assert made.drops[DropReason.LABEL_UNMATCHED] == 1  # the image had gone with the first


def test_a_late_label_holds_nothing_up() -> None:
    frames, made = assembled([(2, 11)], wait=1)
    assert held(frames) == []
    assert len(frames) == COUNT
    assert made.drops[DropReason.LABEL_UNMATCHED] == 1


def test_a_frame_comes_once_more_with_its_late_label() -> None:
    frames, made = assembled([(2, 6), (7, 7), (3, 9)], wait=0, late=True)
    again = [frame for frame in frames if frame.late]
    assert [frame.stamp_ns for frame in again] == [STAMPS[2], STAMPS[7], STAMPS[3]]
    for frame, k in zip(again, (2, 7, 3), strict=True):
        np.testing.assert_array_equal(frame.label, label(k))
        first = frames[[one.stamp_ns for one in frames].index(STAMPS[k])]
        assert first.label is None and not first.late
        np.testing.assert_array_equal(frame.T_world_transducer, first.T_world_transducer)
    assert made.frames_assembled == COUNT  # each of them counts once
    assert not made.drops


def test_a_late_label_sent_twice_counts_once() -> None:
    frames, made = assembled([(2, 6), (2, 8)], wait=0, late=True)
    assert [frame.late for frame in frames].count(True) == 1
    assert made.drops == {DropReason.LABEL_UNMATCHED: 1}


def test_only_so_many_images_are_kept_for_late_labels() -> None:
    # After image 9, the images 6 to 9 are kept.
    frames, made = assembled([(5, 9), (6, 9)], wait=0, late=True, label_late_images=4)
    assert [frame.stamp_ns for frame in frames if frame.late] == [STAMPS[6]]
    assert made.drops == {DropReason.LABEL_UNMATCHED: 1}


def test_a_late_label_of_another_size_is_counted() -> None:
    made = FrameAssembler(late_labels=True)
    for event in scan():
        made.push(event)
    assert made.push(LabelEvent(STAMPS[4], label(4)[:3])) == []
    assert made.drops == {DropReason.LABEL_UNMATCHED: 1}
    assert len(made.push(LabelEvent(STAMPS[4], label(4)))) == 1  # the right one is still taken


def test_labels_of_images_that_never_come_do_not_pile_up() -> None:
    made = FrameAssembler(AssemblerSettings(max_pending_images=5))
    for k in range(20):
        made.push(LabelEvent(STAMPS[0] + k, label(0)))
    assert made.drops == {DropReason.LABEL_UNMATCHED: 15}
    made.finish()
    assert made.drops == {DropReason.LABEL_UNMATCHED: 20}
