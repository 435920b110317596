"""The logarithm of the compiled passes, against NumPy's."""

import numpy as np
import pytest

from us_recon.acoustics.logarithm import logarithm
from us_recon.compiled import compiled


@compiled
def filled(x: np.ndarray, y: np.ndarray) -> None:
    for n in range(x.shape[0]):
        y[n] = logarithm(x[n])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_good_to_rounding(dtype: type) -> None:
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    far = np.exp(rng.uniform(np.log(info.tiny), np.log(info.max), 100_000))
    near = rng.uniform(0.5, 2.0, 100_000)
    ends = [info.tiny, 1.0, np.sqrt(0.5), np.sqrt(2.0), info.max]
    x = np.concatenate([far, near, ends]).astype(dtype)
    y = np.empty_like(x)
    filled(x, y)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, np.log(x), rtol=4 * info.eps)
    assert y[np.flatnonzero(x == 1.0)].tolist() == [0.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_a_number_stays_so(dtype: type) -> None:
    x = np.array([np.nan, np.inf, 1.0], dtype)
    y = np.empty_like(x)
    filled(x, y)
    assert np.isnan(y).tolist() == [True, True, False]


def test_it_stands_for_itself_where_nothing_is_compiled() -> None:
    # ln 0.5 = -0.6931...
    assert logarithm(0.5) == pytest.approx(-0.69314718, rel=1e-7)
    assert np.isnan(logarithm(float("nan")))
