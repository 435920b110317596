import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.pose_buffer import PoseBuffer, PoseLimits, PoseStatus, TransformTree
from us_recon.geometry.rigid import from_euler_xyz_deg

S = 1_000_000_000


def at(x: float, yaw_deg: float = 0.0) -> np.ndarray:
    return from_euler_xyz_deg(np.array([x, 0.0, 0.0]), np.array([0.0, 0.0, yaw_deg]))


def test_buffer_interpolates_between_but_never_outside() -> None:
    buffer = PoseBuffer(PoseLimits(max_gap_s=1.0))
    assert buffer.lookup(0).status is PoseStatus.WAIT
    buffer.add(2 * S, at(20.0))
    buffer.add(1 * S, at(10.0))  # out of order
    np.testing.assert_allclose(buffer.lookup(int(1.25 * S)).T, at(12.5))
    np.testing.assert_array_equal(buffer.lookup(2 * S).T, at(20.0))
    assert buffer.lookup(2 * S + 1).status is PoseStatus.WAIT
    assert buffer.lookup(S - 1).status is PoseStatus.TOO_OLD


def test_buffer_refuses_a_gap_and_a_turn() -> None:
    buffer = PoseBuffer(PoseLimits(max_gap_s=0.5, max_turn_deg=10.0))
    for stamp_s, pose in [(0, at(0)), (1, at(1)), (1.1, at(1, 5)), (1.2, at(1, 30))]:
        buffer.add(int(stamp_s * S), pose)
    gap = buffer.lookup(S // 2)
    assert gap.status is PoseStatus.GAP and gap.T is None and "1.000 s apart" in gap.detail
    assert buffer.lookup(int(1.05 * S)).status is PoseStatus.OK
    assert buffer.lookup(int(1.15 * S)).status is PoseStatus.TURN


def test_buffer_refuses_a_jump_but_not_after_a_pause() -> None:
    buffer = PoseBuffer(PoseLimits(max_gap_s=0.5, max_step_mm=20.0))
    for stamp_s, x in [(0, 0), (0.1, 19), (0.2, 40), (0.3, 41), (1.0, 99)]:
        buffer.add(round(stamp_s * S), at(x))
    found = [buffer.lookup(round(t * S)).status for t in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1.0)]
    ok, jump = PoseStatus.OK, PoseStatus.JUMP
    assert found == [ok, ok, jump, jump, ok, ok, ok]
    assert "21 mm apart, limit 20 mm" in buffer.lookup(round(0.2 * S)).detail


def test_buffer_forgets_what_comes_after_a_time() -> None:
    buffer = PoseBuffer(PoseLimits(max_gap_s=10.0))
    for stamp_s in (0, 1, 2, 3):
        buffer.add(stamp_s * S, at(stamp_s))
    buffer.forget_after(S)
    assert len(buffer) == 2 and buffer.newest_ns == S


def test_buffer_forgets_the_oldest_and_keeps_the_last_of_a_stamp() -> None:
    buffer = PoseBuffer(PoseLimits(max_gap_s=10.0, max_step_mm=100.0, capacity=2))
    for stamp_s in (0, 1, 2):
        buffer.add(stamp_s * S, at(stamp_s))
    buffer.add(2 * S, at(99.0))
    assert len(buffer) == 2
    assert buffer.lookup(0).status is PoseStatus.TOO_OLD
    np.testing.assert_array_equal(buffer.lookup(2 * S).T, at(99.0))


def test_tree_composes_a_robot_chain_at_one_time() -> None:
    tree = TransformTree(PoseLimits(max_gap_s=1.0))
    # base stands 100 from the world; the flange moves along x; the probe hangs 5 further.
    tree.add_static("world", "base", at(100.0))
    tree.add_moving("base", "flange", 0, at(0.0))
    tree.add_moving("base", "flange", S, at(10.0))
    tree.add_static("flange", "probe", at(5.0))
    np.testing.assert_allclose(tree.lookup("world", "probe", S // 2).T, at(110.0))
    np.testing.assert_allclose(tree.lookup("probe", "world", S // 2).T, at(-110.0))
    np.testing.assert_allclose(tree.lookup("flange", "base", S).T, at(-10.0))
    assert tree.lookup("world", "probe", 2 * S).status is PoseStatus.WAIT
    assert tree.lookup("world", "camera", 0).status is PoseStatus.NO_PATH


def test_tree_refuses_a_loop() -> None:
    tree = TransformTree()
    tree.add_static("a", "b", at(1.0))
    with pytest.raises(InputError, match="loop"):
        tree.add_static("b", "a", at(1.0))
