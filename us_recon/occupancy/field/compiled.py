"""How the loops of the field are compiled."""

import inspect
from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """Compile a loop; it gives up Python's lock and may reorder sums."""
    # A run-time type checker, as the tests install one, may have wrapped the function.
    plain = inspect.unwrap(function)
    return njit(cache=True, nogil=True, error_model="numpy", fastmath=True)(plain)
