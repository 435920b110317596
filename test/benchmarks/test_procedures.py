"""The procedures on which tracking is measured: how the patient moves, and what is seen of it."""

import numpy as np
import pytest

from benchmarks.brain_tracking import Said, judged, row
from benchmarks.procedures import Motion, ProcedureCase, one_after_another
from us_recon.geometry.rigid import exp_se3, invert_rigid, make_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.simulation.robot import Trajectory

GEOMETRY = ProbeGeometry.linear(20.0, 20.0, 4, 4)


def still(**moves: float) -> Motion:
    """A patient who moves in nothing but what is given."""
    parts = ("drift_mm", "drift_deg", "breath_mm", "slip_mm", "slip_deg")
    return Motion(**{**dict.fromkeys(parts, 0.0), **moves})


def shifts_mm(motion: Motion, times_s: np.ndarray, start_s: float = 10.0) -> np.ndarray:
    moves = motion.moves(times_s, start_s, np.random.default_rng(0))
    return np.asarray(np.linalg.norm(moves[:, :3, 3], axis=1))


def test_each_part_of_the_motion_has_its_size() -> None:
    times_s = np.linspace(0.0, 60.0, 601)
    # Drift: 5 mm in the end, when the half of it there and back is over; nothing before the start.
    drift = shifts_mm(still(drift_mm=5.0), times_s)
    assert drift[-1] == pytest.approx(5.0, abs=1e-9) and drift[100] == 0.0
    assert shifts_mm(still(breath_mm=0.5), times_s).max() == pytest.approx(0.5, abs=1e-3)
    # A slip between 30 and 70 % of the 50 s from the start, over 0.4 s.
    slip = shifts_mm(still(slip_mm=2.5), times_s)
    before, after = times_s[slip == 0.0].max(), times_s[slip > 2.499].min()
    assert 10.0 + 15.0 - 0.1 <= before <= after <= 10.0 + 35.0 + 0.5
    assert 0.3 <= after - before <= 0.6
    turned = still(slip_deg=1.5).moves(times_s, 10.0, np.random.default_rng(0))
    angle = np.arccos((np.trace(turned[-1, :3, :3]) - 1.0) / 2.0)
    assert np.degrees(angle) == pytest.approx(1.5, abs=1e-6)


def test_trajectories_follow_each_other() -> None:
    def rests(x_mm: float) -> Trajectory:
        return Trajectory(
            np.array([0.0, 2.0]),
            np.tile(make_rigid(np.eye(3), np.array([x_mm, 0.0, 0.0])), (2, 1, 1)),
        )

    both = one_after_another(rests(0.0), rests(10.0), between_s=1.0)
    x = both.poses(np.array([0.0, 1.9, 2.5, 3.0, 4.0]))[:, 0, 3]
    # The last knot of the first is at 1.95 s: half a second later is 0.55 of 1.05 s on the way.
    np.testing.assert_allclose(x, [0.0, 0.0, 10.0 * 0.55 / 1.05, 10.0, 10.0], atol=1e-9)


@pytest.fixture
def case() -> ProcedureCase:
    """A probe that follows a patient who shifts by 1 mm an image."""
    T = np.stack([make_rigid(np.eye(3), np.array([float(n), 0.0, 0.0])) for n in range(4)])
    T_mri_transducer = exp_se3(np.array([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]))
    frames = [
        TrackedFrame(n * 10**8, np.zeros((4, 4), np.uint8), T[n] @ T_mri_transducer, GEOMETRY)
        for n in range(4)
    ]
    mri = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
    return ProcedureCase(frames, mri, T, T[0], np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]), 0.1)


def test_at_rest_the_images_are_taken_from_the_same_places_of_the_patient(
    case: ProcedureCase,
) -> None:
    rest = case.at_rest()
    np.testing.assert_array_equal(rest.T_world_mri, np.tile(case.T_world_mri[0], (4, 1, 1)))
    for moving, frame, T in zip(case.frames, rest.frames, case.T_world_mri, strict=True):
        np.testing.assert_allclose(
            invert_rigid(case.T_world_mri[0]) @ frame.T_world_transducer,
            invert_rigid(T) @ moving.T_world_transducer,
            atol=1e-12,
        )


def test_a_pose_is_judged_at_its_image(case: ProcedureCase) -> None:
    covariance, centre = 0.25 * np.eye(3), np.array([4.0, 4.0, 4.0])
    said = [
        Said(case.T_world_mri[1], 2.0, covariance, centre),
        Said(case.T_world_mri[1], 4.0, covariance, centre),
        Said(None, 6.0),
    ]
    images = judged(case, said)  # of the last three images
    assert [image["error mm"] for image in images[:2]] == pytest.approx([0.0, 1.0])
    assert [image["time s"] for image in images] == pytest.approx([0.1, 0.2, 0.3])
    figures = row(images)
    # Published are errors of 0 and 1 mm; squared by a variance of 0.25 mm2 over 3 axes 0 and 4 / 3.
    assert figures["median mm"] == pytest.approx(0.5) and figures["largest mm"] == pytest.approx(
        1.0
    )
    assert figures["published"] == "67%" and figures["over 4 mm"] == 0
    assert figures["error^2 / variance"] == pytest.approx(2.0 / 3.0)
    assert figures["CPU ms"] == pytest.approx(4.0)
    never = row(judged(case, [Said(None)] * 3))
    assert never["median mm"] == "-" and never["published"] == "0%"
