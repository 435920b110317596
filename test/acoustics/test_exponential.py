"""The exponential function of the compiled passes, against NumPy's."""

import numpy as np
import pytest

from us_recon.acoustics.exponential import exponential
from us_recon.compiled import compiled


@compiled
def filled(x: np.ndarray, y: np.ndarray) -> None:
    for n in range(x.shape[0]):
        y[n] = exponential(x[n])


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 87.0), (np.float64, 708.0)])
def test_it_is_good_to_rounding_and_held_where_numbers_end(dtype: type, most: float) -> None:
    x = np.linspace(-1.2 * most, 1.2 * most, 100_001).astype(dtype)
    y = np.empty_like(x)
    filled(x, y)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.exp(np.clip(x, -most, most)), rtol=4 * np.finfo(dtype).eps)
    assert y[np.argmin(np.abs(x))] == 1.0


def test_it_stands_for_itself_where_nothing_is_compiled() -> None:
    # e^0.5 = 1.648721...; beyond 708 it is held.
    assert exponential(0.5) == pytest.approx(1.6487213, rel=1e-7)
    assert exponential(1e6) == exponential(708.0) < float("inf")
