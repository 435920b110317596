"""What the replay keeps when memory ends."""

from dataclasses import replace

import numpy as np

from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.field.replay import Replay
from us_recon.occupancy.field.scanlines import LineGeometry, Scanlines, scanlines


def prepared(frame: TrackedFrame) -> Scanlines:
    return scanlines(frame, None, LineGeometry.of(frame.geometry), None)[0]


def test_history_is_thinned_out_evenly(bone_sweep: list[TrackedFrame]) -> None:
    # Room for 4 (the least). Frames 0 to 3 fill it; 4 thins out to 0, 2 and comes on top; 5 takes
    # the place after 4, as 4 is a multiple of 2; 6 replaces 5, then all thin out to 0, 4 and so on.
    lines = prepared(bone_sweep[0])
    replay = Replay(LineGeometry.of(bone_sweep[0].geometry), 1e-6)
    held = []
    for _ in range(9):
        replay.add(lines, 1.0)
        held.append(replay["number"].tolist())
    assert held[3] == [0, 1, 2, 3]
    assert held[4] == [0, 2, 4]
    assert held[5] == [0, 2, 4, 5]
    assert held[6] == [0, 2, 4, 6]
    assert held[7] == [0, 4, 7]
    assert held[8] == [0, 4, 8]


def test_labels_outlive_other_frames(bone_sweep: list[TrackedFrame]) -> None:
    plain = prepared(bone_sweep[0])
    replay = Replay(LineGeometry.of(bone_sweep[0].geometry), 1e-6)
    for number in range(8):
        replay.add(replace(plain, labelled=number == 1), 1.0)
    assert 1 in replay["number"]


def test_beams_without_contact_are_never_picked(bone_sweep: list[TrackedFrame]) -> None:
    plain = prepared(bone_sweep[0])
    contact = np.zeros(len(plain.contact), bool)
    contact[[5, 70]] = True
    replay = Replay(LineGeometry.of(bone_sweep[0].geometry), 1)
    replay.add(replace(plain, contact=contact), 1.0)
    replay.add(replace(plain, contact=np.zeros_like(contact)), 1.0)
    frame = np.array([0, 0, 1, 0])
    picks = replay.pick(frame, np.array([0.0, 0.99, 0.5, 0.4], np.float32))
    assert picks.frame.tolist() == [0, 0, 0]
    assert picks.beam.tolist() == [5, 70, 5]
    # A linear array of 40 mm with 128 beams: beam 5 leaves at (5 - 63.5) 40 / 128 mm.
    np.testing.assert_allclose(picks.origin_mm[0], [-18.28125, 0.0, 0.0], atol=1e-5)
    points = picks.points_mm(np.array([[10.0]] * 3, np.float32))
    np.testing.assert_allclose(points[0, 0], [-18.28125, 10.0, 0.0], atol=1e-5)


def test_picks_follow_the_pose(bone_sweep: list[TrackedFrame]) -> None:
    replay = Replay(LineGeometry.of(bone_sweep[3].geometry), 1)
    replay.add(prepared(bone_sweep[3]), 1.0)  # 3 mm along z
    picks = replay.beams(np.array([0]), np.array([63]))
    np.testing.assert_allclose(picks.origin_mm[0, 2], 3.0, atol=1e-6)
