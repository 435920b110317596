"""Power and log compression: by hand, against plain PyTorch, and where brightness is held."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from us_recon.acoustics.display import Signal, compressed, compressed_torch

SHAPE = (3, 40, 25)


def drawn(dtype: torch.dtype, speckle: bool) -> tuple[Signal, Tensor, Tensor]:
    """Return a signal, offsets and a slope, of which some pixels end up black and some white."""
    draw = torch.Generator().manual_seed(0)

    def amplitude() -> Tensor:
        level = torch.randn(SHAPE, generator=draw, dtype=torch.float64)
        sign = torch.randn(SHAPE, generator=draw, dtype=torch.float64).sign()
        return (sign * torch.exp(2.0 * level - 4.0)).to(dtype).requires_grad_()

    floor = torch.tensor(1e-5, dtype=dtype, requires_grad=True)
    signal = Signal(amplitude(), amplitude(), amplitude() if speckle else None, floor)
    offset = torch.linspace(0.8, 1.5, SHAPE[-1], dtype=dtype).requires_grad_()
    return signal, offset, torch.tensor(0.12, dtype=dtype, requires_grad=True)


def test_levels_by_hand() -> None:
    # Powers of 4 + 9 + 3 and of 1 + 0 + 3: ln 16 = 2.7726, ln 4 = 1.3863.
    mirrors, imaginary = torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[3.0, 0.0]]])
    signal = Signal(mirrors, imaginary, None, torch.tensor(3.0))
    shown = compressed(signal, torch.tensor([0.2, 0.4]), torch.tensor(0.1))
    torch.testing.assert_close(shown, torch.tensor([[[0.47726, 0.53863]]]), atol=1e-5, rtol=0)
    # In phase amplitudes add up: (2 - 1)^2 + 9 + 3 and (1 + 1)^2 + 0 + 3; ln 13, ln 7.
    signal = Signal(mirrors, imaginary, torch.tensor([[[-1.0, 1.0]]]), torch.tensor(3.0))
    shown = compressed(signal, torch.tensor([0.2, 0.4]), torch.tensor(0.1))
    torch.testing.assert_close(shown, torch.tensor([[[0.45649, 0.59459]]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("speckle", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_pass_equals_its_twin_with_all_gradients(
    dtype: torch.dtype, speckle: bool
) -> None:
    signal, offset, slope = drawn(dtype, speckle)
    wanted = [each for each in (*vars(signal).values(), offset, slope) if each is not None]
    pull = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)

    def of(way: Callable[[Signal, Tensor, Tensor], Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        shown = way(signal, offset, slope)
        return shown, torch.autograd.grad((shown * pull).sum(), wanted)

    (shown, slopes), (expected, expected_slopes) = of(compressed), of(compressed_torch)
    assert 0.05 < (shown == 0).double().mean() < 0.5
    assert 0.01 < (shown == 1).double().mean() < 0.5
    close = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(shown, expected, **({"rtol": 1e-5, "atol": 1e-6} if close else {}))
    for found, by_twin in zip(slopes, expected_slopes, strict=True):
        torch.testing.assert_close(found, by_twin, **close)


def test_the_number_of_threads_changes_nothing() -> None:
    signal, offset, slope = drawn(torch.float32, speckle=True)
    wanted = [each for each in (*vars(signal).values(), offset, slope) if each is not None]
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(torch.autograd.grad(compressed(signal, offset, slope).sum(), wanted))
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


def test_what_is_not_a_number_is_shown_as_none() -> None:
    mirrors = torch.tensor([[[1.0, float("nan")]]])
    signal = Signal(mirrors, torch.zeros_like(mirrors), None, torch.tensor(1e-6))
    shown = compressed(signal, torch.tensor([0.5, 0.5]), torch.tensor(0.1))
    assert torch.isnan(shown).tolist() == [[[False, True]]]
