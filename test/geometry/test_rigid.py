import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from us_recon.errors import InputError
from us_recon.geometry import rigid, se3_torch

finite = st.floats(-3.0, 3.0, allow_nan=False)
twists = st.lists(finite, min_size=6, max_size=6).map(np.array)
ANGLES = [0.0, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1.0, np.pi - 1e-3]


def test_exp_of_a_quarter_turn_about_z_moves_along_an_arc() -> None:
    # v = (pi/2, 0, 0), w = (0, 0, pi/2): a body driving forward along x while it turns left by 90
    # degrees describes a quarter circle of radius 1 and ends at (1, 1).
    T = rigid.exp_se3(np.array([np.pi / 2, 0, 0, 0, 0, np.pi / 2]))
    np.testing.assert_allclose(T[:3, 3], [1.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(T[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


@given(twists)
def test_log_inverts_exp(twist: np.ndarray) -> None:
    if np.linalg.norm(twist[3:]) > np.pi - 1e-3:  # beyond pi the logarithm is another one
        return
    np.testing.assert_allclose(rigid.log_se3(rigid.exp_se3(twist)), twist, atol=1e-7)


@given(twists)
def test_inverse_undoes(twist: np.ndarray) -> None:
    T = rigid.exp_se3(twist)
    np.testing.assert_allclose(rigid.invert_rigid(T) @ T, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("angle", ANGLES)
def test_torch_agrees_with_numpy_and_has_finite_gradients(angle: float) -> None:
    axis = np.array([0.36, -0.48, 0.8])
    twist = np.concatenate([[3.0, -2.0, 5.0], angle * axis])
    x = torch.tensor(twist, dtype=torch.float64, requires_grad=True)
    T = se3_torch.exp_se3(x)
    np.testing.assert_allclose(T.detach().numpy(), rigid.exp_se3(twist), atol=1e-11)
    back = se3_torch.log_se3(T)
    np.testing.assert_allclose(back.detach().numpy(), twist, atol=1e-6)
    (back.sum() + T.sum()).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("angle", [0.0, 1e-3, 1.0])
def test_torch_exp_gradient_is_the_derivative(angle: float) -> None:
    twist = torch.tensor([3.0, -2.0, 5.0, 0.36 * angle, -0.48 * angle, 0.8 * angle]).double()
    assert torch.autograd.gradcheck(se3_torch.exp_se3, (twist.requires_grad_(),), atol=1e-6)


def test_interpolation_goes_half_way_and_never_beyond() -> None:
    T0 = rigid.from_euler_xyz_deg(np.zeros(3), np.zeros(3))
    T1 = rigid.from_euler_xyz_deg(np.array([2.0, 0, 0]), np.array([0, 0, 90.0]))
    half = rigid.interpolate_rigid(T0, T1, 0.5)
    expected = rigid.from_euler_xyz_deg(np.array([1.0, 0, 0]), np.array([0, 0, 45.0]))
    np.testing.assert_allclose(half, expected, atol=1e-12)
    with pytest.raises(InputError, match="not extrapolated"):
        rigid.interpolate_rigid(T0, T1, 1.01)


@given(twists)
def test_quaternion_round_trip(twist: np.ndarray) -> None:
    R = rigid.exp_se3(twist)[:3, :3]
    q = rigid.rotation_to_quaternion(R)
    assert q[3] >= 0
    np.testing.assert_allclose(rigid.quaternion_to_rotation(q), R, atol=1e-12)


@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [0, 0, 0, np.nan], [0, 0, 0, 2]])
def test_quaternion_that_says_nothing_is_refused(bad: list[float]) -> None:
    with pytest.raises(InputError, match="expected 1"):
        rigid.quaternion_to_rotation(np.array(bad, dtype=float))


def test_is_rigid_tells_scale_mirror_and_nan_apart() -> None:
    T = rigid.exp_se3(np.array([1.0, 2, 3, 0.1, 0.2, 0.3]))
    assert rigid.is_rigid(T)
    assert not rigid.is_rigid(np.diag([1.01, 1, 1, 1]) @ T)
    assert not rigid.is_rigid(np.diag([-1.0, 1, 1, 1]) @ T)
    assert not rigid.is_rigid(np.full((4, 4), np.nan))
    scaled = T.copy()
    scaled[:3, :3] *= 1.0005
    np.testing.assert_allclose(rigid.nearest_rigid(scaled), T, atol=1e-9)
