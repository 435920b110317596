from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.assembler import AssemblerSettings, DropReason, FrameAssembler
from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

S = 1_000_000_000
GEOMETRY = ProbeGeometry.linear(4.0, 3.0, 4, 3)
IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)


def pose(stamp_s: float, x: float, turn_deg: float = 0.0) -> PoseEvent:
    T = from_euler_xyz_deg(np.array([x, 7.0, 0.0]), np.array([0.0, 0.0, turn_deg]))
    return PoseEvent(round(stamp_s * S), T, "world", "probe")


def image(stamp_s: float, frame_id: str = "transducer") -> ImageEvent:
    return ImageEvent(round(stamp_s * S), IMAGE, frame_id)


def assembler(**settings: object) -> FrameAssembler:
    made = FrameAssembler(AssemblerSettings(**settings))
    T_probe_transducer = from_euler_xyz_deg(np.array([0.0, 0.0, 5.0]), np.zeros(3))
    made.push(GeometryEvent(0, GEOMETRY))
    made.push(PoseEvent(0, T_probe_transducer, "probe", "transducer", static=True))
    return made


def feed(made: FrameAssembler, *events: object) -> list[TrackedFrame]:
    return [frame for event in events for frame in made.push(event)]


def test_an_image_between_two_poses_gets_the_pose_between_them() -> None:
    made = assembler()
    frames = feed(made, pose(1.0, 10.0), image(1.05), pose(1.1, 20.0))
    assert len(frames) == 1 and made.pending == 0
    np.testing.assert_allclose(frames[0].T_world_transducer[:3, 3], [15.0, 7.0, 5.0])
    np.testing.assert_array_equal(frames[0].image, IMAGE)


def test_an_image_waits_for_its_pose_and_says_for_what() -> None:
    made = assembler()
    assert feed(made, pose(1.0, 10.0), image(1.05)) == []
    assert made.pending == 1 and "world -> probe: newest pose" in made.waiting_for
    assert len(feed(made, pose(1.1, 20.0))) == 1


def test_time_offset_moves_the_image_not_the_pose() -> None:
    made = assembler(image_time_offset_s=-0.05)
    frames = feed(made, pose(1.0, 10.0), pose(1.1, 20.0), image(1.1))
    np.testing.assert_allclose(frames[0].T_world_transducer[0, 3], 15.0)
    assert frames[0].stamp_ns == round(1.1 * S)


@pytest.mark.parametrize(
    ("events", "reason", "message"),
    [
        ([pose(1, 0), image(1.5), pose(2, 0)], DropReason.POSE_GAP, "1.000 s apart"),
        (
            [pose(1, 0), image(1.05), pose(1.1, 0, 40.0)],
            DropReason.POSE_TURN,
            "turned by 40.0 deg",
        ),
        (
            [pose(1, 0), image(1.05), pose(1.1, 60.0)],
            DropReason.POSE_JUMP,
            "60 mm apart, limit 50 mm",
        ),
        (
            [pose(1, 0), pose(1.1, 60.0), image(1.1)],
            DropReason.POSE_JUMP,
            "60 mm apart, limit 50 mm",
        ),
        ([pose(1, 0), image(0.5)], DropReason.POSE_MISSING, "oldest pose is 0.500 s newer"),
        ([image(1.0, "camera")], DropReason.IMAGE_FRAME, "'camera'; expected 'transducer'"),
        (
            [pose(1, 0), image(1), image(1)],
            DropReason.IMAGE_STALE,
            "not newer than the one before",
        ),
        (
            [GeometryEvent(0, replace(GEOMETRY, width_px=8)), image(1)],
            DropReason.IMAGE_SIZE,
            "image is 4x3, the probe geometry describes 8x3",
        ),
        (
            [PoseEvent(S, np.full((4, 4), np.nan), "world", "probe")],
            DropReason.POSE_INVALID,
            "not a finite rigid",
        ),
        (
            [PoseEvent(S, np.eye(4), "world", "probe")],
            DropReason.POSE_INVALID,
            "exactly the identity",
        ),
        (
            [PoseEvent(S, pose(1, 0).T_parent_child, "transducer", "probe")],
            DropReason.POSE_FRAME,
            "loop",
        ),
    ],
)
def test_what_cannot_be_used_is_dropped_counted_and_explained(
    events: list[object], reason: DropReason, message: str
) -> None:
    made = assembler()
    feed(made, *events)
    assert made.drops == {reason: 1}
    assert message in made.details[reason]


def test_a_tracker_that_takes_up_another_body_costs_one_frame() -> None:
    made = assembler()
    poses = [pose(1.0, 0.0), pose(1.1, 1.0), pose(1.2, 300.0), pose(1.3, 301.0)]
    frames = feed(made, *poses, *[image(1.0 + 0.05 * k) for k in range(7)])
    assert [round(frame.stamp_ns / S, 2) for frame in frames] == [1.0, 1.05, 1.1, 1.25, 1.3]
    assert made.drops == {DropReason.POSE_JUMP: 2}


def test_frames_outside_the_box_are_dropped_and_told() -> None:
    # Images 3 mm deep whose middle is at x, y = 7 to 10 and z = 5.
    box = {"box_mm": (-20.0, 8.0, 0.0, 20.0, 9.0, 6.0)}
    inside, outside = [0.0, 21.9], [22.1, -30.0]
    made = assembler(**box)
    events = [(pose(1 + k, x), image(1 + k)) for k, x in enumerate(inside + outside)]
    frames = feed(made, *[event for pair in events for event in pair])
    assert len(frames) == len(inside)
    assert made.drops == {DropReason.OUTSIDE_BOX: 2}
    assert "(-30, 7, 5) mm and its image shows nothing of box_mm" in made.details["outside_box"]


def test_a_box_that_is_inside_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="upper corner, each larger"):
        assembler(box_mm=(0.0, 0.0, 0.0, 100.0, -100.0, 100.0))


def test_an_image_waits_for_the_first_geometry() -> None:
    made = FrameAssembler(AssemblerSettings(max_pending_images=2))
    calibration = from_euler_xyz_deg(np.zeros(3), np.zeros(3))
    made.push(PoseEvent(0, calibration, "probe", "transducer", static=True))
    assert feed(made, *[pose(1.0 + 0.1 * k, 1.0) for k in range(4)]) == []
    assert feed(made, *[image(1.0 + 0.1 * k) for k in range(3)]) == []
    assert made.pending == 2 and made.drops == {DropReason.NO_GEOMETRY: 1}  # no room for three
    frames = made.push(GeometryEvent(0, GEOMETRY))
    assert [frame.stamp_ns for frame in frames] == [1_100_000_000, 1_200_000_000]
    assert made.images_received == 3


def test_images_that_never_get_a_geometry_are_dropped_at_the_end() -> None:
    made = FrameAssembler()
    assert made.push(image(1.0)) == [] and made.finish() == []
    assert made.drops == {DropReason.NO_GEOMETRY: 1}


def test_images_whose_pose_never_comes_are_dropped_beyond_the_limit() -> None:
    made = assembler(max_pending_images=3)
    feed(made, *[image(1 + 0.1 * k) for k in range(5)])
    assert made.pending == 3 and made.drops == {DropReason.POSE_MISSING: 2}
    assert made.finish() == [] and made.drops == {DropReason.POSE_MISSING: 5}
    assert made.images_received == 5 and made.frames_assembled == 0


def test_labels_meet_their_image_before_or_after_it() -> None:
    made = assembler(label_wait_images=1)
    poses = [pose(1.0 + 0.1 * k, 1.0) for k in range(5)]
    feed(made, *poses)
    label = (IMAGE > 5).astype(np.uint8)
    frames = feed(
        made, LabelEvent(S, label), image(1.0), image(1.1), LabelEvent(1_100_000_000, label)
    )
    assert [frame.label is not None for frame in frames] == [True, True]
    frames = feed(made, image(1.2), image(1.3))
    assert [frame.label for frame in frames] == [None]  # 1.3 still waits for its label
    assert [frame.label for frame in made.finish()] == [None]


def test_a_label_without_image_and_one_of_another_size_are_counted() -> None:
    made = assembler()
    feed(made, *[pose(1.0 + 0.1 * k, 1.0) for k in range(5)])
    feed(made, LabelEvent(S - 1, IMAGE), LabelEvent(S, IMAGE[:2]))
    frames = feed(made, image(1.0))
    assert frames[0].label is None
    assert made.drops == {DropReason.LABEL_UNMATCHED: 2}


def test_a_label_whose_image_was_left_out_says_so() -> None:
    made = assembler()
    feed(made, LabelEvent(S, IMAGE), image(1.0), pose(2.0, 1.0), pose(2.1, 1.0))
    assert made.drops == {DropReason.POSE_MISSING: 1}
    feed(made, LabelEvent(2 * S, IMAGE), image(2.05))
    assert made.drops[DropReason.LABEL_UNMATCHED] == 2
    assert made.details[DropReason.LABEL_UNMATCHED].endswith("no image of the same stamp")
    feed(made, image(2.2), LabelEvent(2_200_000_000, IMAGE))
    made.finish()
    assert made.drops == {DropReason.POSE_MISSING: 2, DropReason.LABEL_UNMATCHED: 3}
    assert made.details[DropReason.LABEL_UNMATCHED] == "a label's image was left out (pose_missing)"


def test_a_recording_that_starts_again_keeps_the_calibration_alone() -> None:
    made = assembler()
    feed(made, pose(5.0, 1.0), pose(5.1, 1.0), image(5.05))
    # Poses of the new pass may come before its first image; both are taken, the old pose is not.
    frames = feed(made, pose(1.0, 3.0), image(1.05), pose(1.1, 3.0))
    np.testing.assert_allclose(frames[0].T_world_transducer[:3, 3], [3.0, 7.0, 5.0])
    assert made.restarts == 1
    again = feed(made, pose(5.0, 8.0), pose(5.1, 8.0), image(5.05))
    assert again[0].T_world_transducer[0, 3] == 8.0


def test_a_mirrored_image_is_normalised() -> None:
    made = assembler()
    made.push(GeometryEvent(0, replace(GEOMETRY, orientation="UF")))
    frames = feed(made, pose(1.0, 1.0), image(1.0))
    np.testing.assert_array_equal(frames[0].image, IMAGE[:, ::-1])
