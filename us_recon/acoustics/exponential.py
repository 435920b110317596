"""The exponential function in a form of which the compiler makes vectors.

``e^x = 2^k e^r`` with whole k and ``|r| <= ln 2 / 2``: a power of two is written into the bits of a
number, and the rest is its Taylor series, to rounding.
"""

import inspect
from math import exp, factorial, log
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload


def exponential(x: float) -> float:
    """Return e^x to a few units of rounding, for x held to what neither over- nor underflows.

    Compiled code gets the form below; this is what stands for it anywhere else.
    """
    return exp(min(max(x, -708.0), 708.0))


_intrinsic: Any = intrinsic


@_intrinsic  # type: ignore[untyped-decorator]
def _number_of_bits(_: Any, bits: Any) -> Any:
    kind = types.float32 if bits == types.int32 else types.float64

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(signature.return_type))

    return kind(bits), build


@overload(exponential)
def _exponential(x: Any) -> Any:
    single = x == types.float32
    number: Any = np.float32 if single else np.float64
    whole: Any = np.int32 if single else np.int64
    shift, bias = (whole(23), whole(127)) if single else (whole(52), whole(1023))
    limit = number(87.0 if single else 708.0)
    per_ln2, half = number(1.0 / log(2.0)), number(0.5)
    # ln 2 in two parts, of which the first times any k is exact.
    coarse = number(0.693359375)
    fine = number(-2.1219444005469058277e-4)
    c = [number(1.0 / factorial(order)) for order in range(14)]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[:8]
    c8, c9, c10, c11, c12, c13 = c[8:]

    def reduced(x: Any) -> Any:
        held = min(max(x, -limit), limit)
        k = np.floor(held * per_ln2 + half)
        r = (held - k * coarse) - k * fine
        series = c5 + r * (c6 + r * c7)
        series = c0 + r * (c1 + r * (c2 + r * (c3 + r * (c4 + r * series))))
        return series * _number_of_bits(whole((whole(k) + bias) << shift))

    def long(x: Any) -> Any:
        held = min(max(x, -limit), limit)
        k = np.floor(held * per_ln2 + half)
        r = (held - k * coarse) - k * fine
        series = c9 + r * (c10 + r * (c11 + r * (c12 + r * c13)))
        series = c4 + r * (c5 + r * (c6 + r * (c7 + r * (c8 + r * series))))
        series = c0 + r * (c1 + r * (c2 + r * (c3 + r * series)))
        return series * _number_of_bits(whole((whole(k) + bias) << shift))

    # A run-time type checker, as the tests install one, may have wrapped the function.
    return inspect.unwrap(reduced if single else long)
