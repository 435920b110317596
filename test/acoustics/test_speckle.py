"""Scatterers: a fixed function of position, of known statistics."""

import numpy as np
import torch

from us_recon.acoustics.fields import points_of
from us_recon.acoustics.speckle import _table, scattered, scatterers_torch


def pose(*shift: float) -> torch.Tensor:
    T = torch.eye(4, dtype=torch.float64)
    T[:3, 3] = torch.tensor(shift)
    return T[None]


def field(plane: torch.Tensor, T: torch.Tensor, seed: int) -> torch.Tensor:
    """Return real and imaginary part of the field itself."""
    even = torch.ones(len(T), *plane.shape[:2], dtype=plane.dtype)
    return torch.stack(scattered(even, plane, T, seed))


def test_variance_one_half_everywhere_between_the_lattice() -> None:
    rng = np.random.default_rng(0)
    plane = torch.from_numpy(rng.uniform(0.0, 500.0, (40, 500, 2)))
    for shift in (0.0, 0.25, 0.5):  # from on to halfway between two layers of the lattice
        parts = field(plane, pose(0.0, 0.0, shift), seed=3)
        # One layer of the lattice holds 64 x 64 numbers, so that means are good to about 0.02.
        assert abs(parts.mean()) < 0.05
        np.testing.assert_allclose(parts.var(dim=(1, 2, 3)), 0.5, atol=0.05)
        assert abs((parts[0] * parts[1]).mean()) < 0.05


def test_the_same_place_is_the_same_whichever_way_one_looks() -> None:
    plane = torch.from_numpy(np.random.default_rng(1).uniform(-20.0, 20.0, (3, 50, 2)))
    there = field(plane + 2.5, pose(0.0, 0.0, 7.3), seed=1)
    here = field(plane, pose(2.5, 2.5, 7.3), seed=1)
    torch.testing.assert_close(here, there)
    assert not torch.allclose(here, field(plane, pose(2.5, 2.5, 7.3), seed=2))


def test_the_compiled_pass_equals_its_twin_with_gradients() -> None:
    plane = torch.from_numpy(np.random.default_rng(2).uniform(-70.0, 70.0, (5, 30, 2)))
    T = torch.cat([pose(0.1, 0.2, 0.3), pose(-9.0, 4.0, 2.7)]).requires_grad_()
    amplitude = torch.from_numpy(np.random.default_rng(4).uniform(0.0, 2.0, (2, 5, 30)))
    amplitude.requires_grad_()
    pull = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 2, 5, 30)))
    table = torch.from_numpy(_table(7)).double()
    values = [
        torch.stack(scattered(amplitude, plane, T, seed=7)),
        amplitude * scatterers_torch(table, points_of(plane, T)),
    ]
    torch.testing.assert_close(*values)
    for wanted in (T, amplitude):
        slopes = [
            torch.autograd.grad((value * pull).sum(), wanted, retain_graph=True)[0]
            for value in values
        ]
        torch.testing.assert_close(*slopes)
