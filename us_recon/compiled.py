"""Compilation of inner loops to machine code, and their spreading over threads."""

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import pairwise
from typing import Any

from numba import njit


def compiled(function: Any, fastmath: bool | set[str] = False, **options: Any) -> Any:
    """Compile a kernel and keep the machine code on disk.

    Args:
        function: The kernel.
        fastmath: What it may do to sums and products: nothing, all, or flags of LLVM.
        options: Further options of numba's `njit`.
    """
    # A run-time type checker, as the tests install one, may have wrapped the function.
    plain = inspect.unwrap(function)
    return njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath, **options)(plain)


def in_threads(count: int, work: Callable[[int, int], None]) -> None:
    """Split `count` pieces of work over PyTorch's number of threads, this one among them.

    Args:
        count: How many pieces there are, each worth some ten microseconds or more.
        work: Is called with the two ends of each part; parts must not depend on each other.
    """
    import torch  # heavy, and not needed by those who only compile

    threads = min(torch.get_num_threads(), max(1, count // _LEAST_PIECES))
    ends = [count * part // threads for part in range(threads + 1)]
    others = [_helpers(threads - 1).submit(work, low, high) for low, high in pairwise(ends[1:])]
    try:
        work(0, ends[1])
    finally:
        wait(others)
    for other in others:
        other.result()  # an error in it comes up here


@lru_cache(maxsize=4)
def _helpers(threads: int) -> ThreadPoolExecutor:
    """Return threads that wait for work: to start some for each call takes longer than a beam."""
    return ThreadPoolExecutor(threads, "us_recon compiled")


os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not come along

_LEAST_PIECES = 32
