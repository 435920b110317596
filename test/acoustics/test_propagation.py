"""Echoes of layers, against the dense systems that define them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from us_recon.acoustics.propagation import (
    Convention,
    check_reflection,
    coupled_echoes,
    coupled_torch,
    primary_echoes,
    primary_torch,
)
from us_recon.errors import InputError

TISSUE_MRAYL = [1.48, 1.63, 1.66, 1.60, 1.38, 1.63]
SKULL_MRAYL = [1.48, 1.8, 7.0, 6.2, 7.0, 1.55, 1.52, 1.62, 1.60]


def reflections_of(layers: list[float], count: int) -> np.ndarray:
    """Layers of even thickness with a little texture, as a beam through tissue meets them."""
    Z = np.repeat(layers, -(-(count + 1) // len(layers)))[: count + 1]
    Z = Z * (1.0 + 0.01 * np.random.default_rng(count).standard_normal(count + 1))
    return (Z[1:] - Z[:-1]) / (Z[1:] + Z[:-1])


def dense_echoes(reflection: Tensor, convention: str) -> Tensor:
    """The readable twin: one linear system in all waves for every truncation and ray.

    Unknowns of the system cut at n: g_1 .. g_n (forward), then d_0 .. d_{n-1} (backward).
    """
    sign = -1.0 if convention == Convention.PHYSICAL else 1.0
    rows = []
    for R in reflection:
        echoes = [R.new_zeros(())]
        for n in range(1, len(R) + 1):
            matrix, known = torch.eye(2 * n, dtype=R.dtype), R.new_zeros(2 * n)
            for i in range(n):
                forward, backward, behind = i, n + i, n + i + 1
                if i == 0:  # g_0 = 1 is known
                    known[forward], known[backward] = 1.0 + R[0], R[0]
                else:
                    matrix[forward, i - 1], matrix[backward, i - 1] = -(1.0 + R[i]), -R[i]
                if i < n - 1:  # d_n = 0 behind the last interface
                    matrix[forward, behind], matrix[backward, behind] = -sign * R[i], -(1.0 - R[i])
            echoes.append(torch.linalg.solve(matrix, known)[n])
        rows.append(torch.stack(echoes))
    return torch.stack(rows)


@pytest.mark.parametrize("convention", list(Convention))
@pytest.mark.parametrize("layers", [TISSUE_MRAYL, SKULL_MRAYL], ids=["tissue", "skull"])
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
def test_coupled_echoes_and_their_gradients_equal_dense_solves(
    convention: str, layers: list[float], compiled: bool
) -> None:
    R = torch.from_numpy(np.stack([reflections_of(layers, 27), -reflections_of(layers, 27)]))
    R.requires_grad_()
    pull = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 28)))
    fast = (coupled_echoes if compiled else coupled_torch)(R, convention)
    dense = dense_echoes(R, convention)
    torch.testing.assert_close(fast, dense, atol=1e-10, rtol=0)
    slopes = [torch.autograd.grad((echo * pull).sum(), R)[0] for echo in (fast, dense)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-10, rtol=1e-10)
    single = coupled_echoes(R.detach().float(), convention)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), dense.detach(), atol=1e-4, rtol=0)


def test_single_precision_gradients_are_good_to_1e_4() -> None:
    R = torch.from_numpy(reflections_of(SKULL_MRAYL, 200))[None]
    for convention in Convention:
        slopes = []
        for dtype in (torch.float64, torch.float32):
            typed = R.to(dtype).requires_grad_()
            (slope,) = torch.autograd.grad(coupled_echoes(typed, convention).sum(), typed)
            slopes.append(slope.double())
        scale = slopes[0].abs().max()
        torch.testing.assert_close(slopes[1] / scale, slopes[0] / scale, atol=1e-4, rtol=0)


def test_two_interfaces_by_hand() -> None:
    R = torch.tensor([0.5, 0.25], dtype=torch.float64)
    # Physical: cut at 1, R_0; cut at 2, (0.5 + 0.25) / (1 + 0.5 * 0.25) = 2 / 3.
    torch.testing.assert_close(
        coupled_echoes(R), torch.tensor([0.0, 0.5, 2.0 / 3.0], dtype=torch.float64)
    )
    # Published: d_1 = 0.25 g_1 and g_1 = 1.5 + 0.5 d_1, so g_1 = 1.5 / 0.875 and
    # d_0 = 0.5 + 0.5 * 0.25 * 1.5 / 0.875.
    torch.testing.assert_close(
        coupled_echoes(R, "published"),
        torch.tensor([0.0, 0.5, 0.5 + 0.1875 / 0.875], dtype=torch.float64),
    )
    # Primary: 0.5, then 0.25 of what passes twice, (1 - 0.25).
    torch.testing.assert_close(primary_echoes(R), torch.tensor([0.5, 0.1875], dtype=torch.float64))


def test_physical_echoes_are_the_impedance_relative_to_the_surface() -> None:
    Z = torch.tensor([1.5, 1.6, 7.0, 1.4, 0.0004], dtype=torch.float64)
    R = (Z[1:] - Z[:-1]) / (Z[1:] + Z[:-1])
    torch.testing.assert_close(coupled_echoes(R), (Z - Z[0]) / (Z + Z[0]))


def test_primary_echoes_and_gradients_equal_their_twin() -> None:
    R = torch.from_numpy(np.random.default_rng(2).uniform(-0.9, 0.9, (7, 3, 33)))
    R.requires_grad_()
    pull = torch.from_numpy(np.random.default_rng(3).standard_normal(R.shape))
    fast, twin = primary_echoes(R), primary_torch(R)
    torch.testing.assert_close(fast, twin)
    torch.testing.assert_close(
        torch.autograd.grad((fast * pull).sum(), R)[0],
        torch.autograd.grad((twin * pull).sum(), R)[0],
    )


@pytest.mark.parametrize("function", [coupled_echoes, primary_echoes])
def test_gradients_pass_the_check_of_pytorch(function: object) -> None:
    R = torch.from_numpy(np.random.default_rng(4).uniform(-0.6, 0.6, (5, 6))).requires_grad_()
    assert torch.autograd.gradcheck(function, (R,))
    if function is coupled_echoes:
        assert torch.autograd.gradcheck(lambda R: coupled_echoes(0.3 * R, "published"), (R,))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-0.9999899864196777, 0.9999899864196777, width=32), min_size=1, max_size=60)
)
def test_physical_echoes_are_finite_for_all_reflections(values: list[float]) -> None:
    R = torch.tensor([values], dtype=torch.float32, requires_grad=True)
    echoes = coupled_echoes(R)
    assert echoes.shape == (1, len(values) + 1)
    assert torch.isfinite(echoes).all() and (echoes.abs() <= 1.0).all()
    (slope,) = torch.autograd.grad(echoes.sum(), R)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("bad", [1.0, -1.0, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("function", [coupled_echoes, primary_echoes])
def test_reflections_beyond_one_are_refused(function: object, bad: float) -> None:
    R = torch.tensor([[0.1, bad, 0.2]])
    with pytest.raises(InputError, match="between -1 and 1"):
        function(R)  # type: ignore[operator]


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"'signed'; expected one of physical, published"):
        coupled_echoes(torch.zeros(2, 3), "signed")
    with pytest.raises(InputError, match="expected float32 or float64"):
        check_reflection(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="expected a tensor"):
        check_reflection(torch.zeros(()))


def test_any_number_of_leading_axes() -> None:
    R = torch.from_numpy(np.random.default_rng(5).uniform(-0.3, 0.3, (2, 3, 5, 9)))
    assert coupled_echoes(R).shape == (2, 3, 5, 10)
    torch.testing.assert_close(coupled_echoes(R)[1, 2, 4], coupled_echoes(R[1, 2, 4]))
    torch.testing.assert_close(primary_echoes(R)[1, 2, 4], primary_echoes(R[1, 2, 4]))
    assert coupled_echoes(torch.zeros(3, 0)).tolist() == [[0.0]] * 3
