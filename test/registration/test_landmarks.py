"""A first guess from landmark pairs."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.geometry.rigid import make_rigid, transform_points
from us_recon.registration.landmarks import ClickedLandmarks, fit_rigid, residual_mm

POINTS = np.array([[0.0, 0.0, 0.0], [40.0, 0.0, 5.0], [0.0, 30.0, -10.0], [10.0, 10.0, 20.0]])
T = make_rigid(
    Rotation.from_euler("xyz", [10.0, -30.0, 50.0], degrees=True).as_matrix(),
    np.array([5.0, -80.0, 12.0]),
)


def test_exact_pairs_give_the_transform() -> None:
    np.testing.assert_allclose(fit_rigid(POINTS, transform_points(T, POINTS)), T, atol=1e-9)


def test_a_common_error_shifts_and_opposite_ones_cancel() -> None:
    # Two pairs off by +1 and -1 mm along z, symmetric about the centre of a square in x and y:
    # the turns they ask for cancel, and so do the shifts.
    square = np.array([[10.0, 10, 0], [-10, 10, 0], [-10, -10, 0], [10, -10, 0]])
    off = square + np.outer([1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(fit_rigid(square, off), np.eye(4), atol=1e-9)
    shifted = fit_rigid(square, square + np.array([0.0, 0.0, 2.0]))
    np.testing.assert_allclose(shifted[:3, 3], [0.0, 0.0, 2.0], atol=1e-9)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (POINTS[:2], "2 landmark pairs; expected 3"),
        (np.outer(np.arange(4.0), [1.0, 2.0, 3.0]), "on a line in the MRI"),
    ],
)
def test_pairs_that_leave_a_turn_open_are_refused(points: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_rigid(points, transform_points(T, points))


def test_the_third_click_gives_a_pose_and_later_ones_improve_it() -> None:
    clicked = ClickedLandmarks(POINTS)
    world = transform_points(T, POINTS)
    assert clicked.click(world[0]) is None and clicked.click(world[1]) is None
    assert clicked.message == "2 of 4 landmarks clicked; click number 3"
    first = clicked.click(world[2])
    assert first is not None
    np.testing.assert_allclose(first, T, atol=1e-9)
    assert clicked.click(world[3] + np.array([0.0, 0.0, 4.0])) is not None
    assert clicked.message.startswith("4 of 4 landmarks clicked, ")
    with pytest.raises(InputError, match="all 4 landmarks were clicked already"):
        clicked.click(world[3])


def test_a_restarted_sequence_begins_with_the_first_landmark() -> None:
    clicked = ClickedLandmarks(POINTS)
    for wrong in np.zeros((2, 3)):
        clicked.click(wrong)
    clicked.restart()
    poses = [clicked.click(point) for point in transform_points(T, POINTS[:3])]
    np.testing.assert_allclose(poses[2], T, atol=1e-9)


def test_landmarks_on_a_line_are_refused_before_the_first_click() -> None:
    with pytest.raises(InputError, match="on a line in the MRI"):
        ClickedLandmarks(np.outer(np.arange(4.0), [1.0, 2.0, 3.0]))


def test_the_residual_is_the_root_mean_square_distance() -> None:
    # Two of four points are 3 and 4 mm off: sqrt((9 + 16) / 4) = 2.5.
    off = np.array([[3.0, 0, 0], [0, 4.0, 0], [0, 0, 0], [0, 0, 0]])
    assert residual_mm(np.eye(4), POINTS, POINTS + off) == pytest.approx(2.5)
