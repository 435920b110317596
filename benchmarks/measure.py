"""CPU time, wall time and memory of one call."""

import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # Linux, proc(5): resets the peak of the resident set
_KIB_PER_MIB = 1024.0


@dataclass(frozen=True, eq=False)
class Measured(Generic[T]):
    """A call's result and what it cost.

    Attributes:
        value: What it returned.
        cpu_s: CPU time of this process, all threads.
        wall_s: Time on the clock.
        peak_mib: Most memory during the call above what was resident before; NaN where the
            system does not tell.
    """

    value: T
    cpu_s: float
    wall_s: float
    peak_mib: float


def measured(function: Callable[[], T]) -> Measured[T]:
    """Call a function and measure it."""
    before_mib = _restarted_peak_mib()
    wall_s, cpu_s = time.monotonic(), time.process_time()
    value = function()
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    return Measured(value, cpu_s, wall_s, _status_mib("VmHWM") - before_mib)


def resident_mib(process: int | None = None) -> float:
    """Return what a process, this one unless told, holds in memory; NaN where nobody tells."""
    return _status_mib("VmRSS", Path(f"/proc/{process or os.getpid()}/status"))


def cpu_seconds(process: int) -> float:
    """Return the CPU time that another process has used so far; NaN where nobody tells.

    Source: proc(5), fields 14 and 15 of /proc/PID/stat.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _restarted_peak_mib() -> float:
    """Let the peak start anew and return the resident memory; NaN where that cannot be done.

    What earlier calls left behind goes back to the system first, or it would be used again unseen.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # GNU C library alone
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return float("nan")
    return _status_mib("VmRSS")


def _status_mib(key: str, status: Path = _STATUS) -> float:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return float("nan")
    for line in lines:
        if line.startswith(f"{key}:"):
            return float(line.split()[1]) / _KIB_PER_MIB
    return float("nan")
