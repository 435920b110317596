import os
import time
from math import isnan

import numpy as np
import pytest

from benchmarks.measure import cpu_seconds, measured, resident_mib


def test_time_and_result_of_a_call() -> None:
    result = measured(lambda: time.sleep(0.2) or 7)
    assert result.value == 7
    assert result.wall_s == pytest.approx(0.2, abs=0.15) and result.cpu_s < 0.15


def test_memory_of_a_call_again_and_again() -> None:
    # 6 Mi doubles are 48 MiB; they are freed before the call returns.
    peaks = [measured(lambda: float(np.ones(6 << 20).sum())).peak_mib for _ in range(3)]
    if isnan(peaks[0]):
        pytest.skip("this system does not let a process reset its peak memory")
    assert all(40.0 < peak < 80.0 for peak in peaks)
    assert measured(lambda: None).peak_mib < 5.0


def test_other_processes_are_followed_too() -> None:
    assert resident_mib(os.getpid()) == pytest.approx(resident_mib(), rel=0.2)
    assert cpu_seconds(os.getpid()) > 0.0
    assert isnan(cpu_seconds(2**30)) and isnan(resident_mib(2**30))
