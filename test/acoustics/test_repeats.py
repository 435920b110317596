"""Repeats between the array's face and an interface, by hand."""

import numpy as np
import torch

from us_recon.acoustics.repeats import with_repeats


def test_a_plate_repeats_at_multiples_of_its_depth() -> None:
    train = torch.zeros(1, 1, 40, dtype=torch.float64)
    train[..., 10] = 0.5
    repeated = with_repeats(train, torch.tensor(0.4, dtype=torch.float64))[0, 0]
    # Order k: (-r)^(k-1) e^k at k times the depth.
    expected = np.zeros(40)
    expected[[10, 20, 30]] = [0.5, -0.4 * 0.25, 0.16 * 0.125]
    np.testing.assert_allclose(repeated, expected, atol=1e-9)


def test_two_interfaces_repeat_together_too() -> None:
    train = torch.zeros(1, 1, 30, dtype=torch.float64)
    train[..., 8], train[..., 11] = 0.2, 0.1
    repeated = with_repeats(train, torch.tensor(0.5, dtype=torch.float64))[0, 0]
    # Down to one, up, down to the other: 8 + 11, in both orders.
    assert abs(repeated[19].item() - (-0.5 * 2 * 0.2 * 0.1)) < 1e-9
    torch.testing.assert_close(
        with_repeats(train, torch.tensor(0.0, dtype=torch.float64)), train, atol=1e-12, rtol=0
    )
