"""The natural logarithm in a form of which the compiler makes vectors.

``ln x = k ln 2 + ln m`` with whole k and m within a factor of the square root of two of 1: both are
read from the bits of a number, and ``ln m = 2 artanh((m - 1) / (m + 1))`` is its Taylor series, to
rounding.
"""

import inspect
from math import log
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload


def logarithm(x: float) -> float:
    """Return ln x to a few units of rounding, for x above 0 that is not denormal.

    What is not a number, or not finite, gives NaN. Compiled code gets the form below; this is what
    stands for it anywhere else.
    """
    return log(x) + (x - x)


_intrinsic: Any = intrinsic


@_intrinsic  # type: ignore[untyped-decorator]
def _cast(_: Any, value: Any, kind: Any) -> Any:
    """Return the bits of a number as another type of the same size."""
    target = kind.dtype

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return target(value, kind), build


@overload(logarithm)
def _logarithm(x: Any) -> Any:
    single = x == types.float32
    number: Any = np.float32 if single else np.float64
    whole: Any = np.int32 if single else np.int64
    shift = whole(23 if single else 52)
    lowest = whole(np.sqrt(number(0.5)).view(whole))
    # ln 2 in two parts, of which the first times any k is exact.
    coarse, fine = number(0.693359375), number(-2.1219444005469058277e-4)
    c3, c5, c7, c9, c11, c13, c15, c17, c19, c21 = (number(1.0 / n) for n in range(3, 22, 2))
    one, two = number(1.0), number(2.0)

    def reduced(x: Any) -> Any:
        bits = _cast(x, whole)
        k = whole(whole(bits - lowest) >> shift)
        m = _cast(whole(bits - whole(k << shift)), number)
        s = (m - one) / (m + one)
        z = s * s
        series = z * (c3 + z * (c5 + z * (c7 + z * c9)))
        return (two * (s + s * series) + number(k) * fine + number(k) * coarse) + (x - x)

    def long(x: Any) -> Any:
        bits = _cast(x, whole)
        k = whole(whole(bits - lowest) >> shift)
        m = _cast(whole(bits - whole(k << shift)), number)
        s = (m - one) / (m + one)
        z = s * s
        series = c13 + z * (c15 + z * (c17 + z * (c19 + z * c21)))
        series = z * (c3 + z * (c5 + z * (c7 + z * (c9 + z * (c11 + z * series)))))
        return (two * (s + s * series) + number(k) * fine + number(k) * coarse) + (x - x)

    # A run-time type checker, as the tests install one, may have wrapped the function.
    return inspect.unwrap(reduced if single else long)
