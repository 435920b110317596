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
