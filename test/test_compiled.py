"""How pieces of work are spread over threads."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from us_recon.compiled import in_threads

FORKED = """
import os, sys, torch
from us_recon.compiled import in_threads
torch.set_num_threads(2)
done = []
in_threads(64, lambda low, high: done.append(high - low))
child = os.fork()
in_threads(64, lambda low, high: done.append(high - low))
if child == 0:
    os._exit(0 if sum(done) == 128 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 31, 64, 97, 1000])
def test_every_piece_is_worked_on_once(threads: int, count: int) -> None:
    done, by = [0] * count, set()

    def work(low: int, high: int) -> None:
        by.add(threading.get_ident())
        for piece in range(low, high):
            done[piece] += 1

    in_threads(count, work)
    assert done == [1] * count
    assert len(by) <= max(1, min(threads, count // 32))
    assert threading.get_ident() in by


def test_an_error_comes_up_from_any_part_once_all_have_ended(threads: int) -> None:
    for broken in range(threads):
        ended = []

        def work(low: int, _: int, broken: int = broken, ended: list[int] = ended) -> None:
            ended.append(low)
            if low == 300 * broken // threads:
                raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            in_threads(300, work)
        assert len(ended) == threads


def test_a_forked_process_has_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=60)
