import threading

import pytest

from us_recon.ros.worker import Worker


def test_items_are_worked_in_order_and_stop_finishes_them() -> None:
    done: list[int] = []
    worker: Worker[int] = Worker(done.append, lambda: None, pytest.fail, capacity=100)
    for item in range(50):
        worker.put(item)
    worker.stop()
    assert done == list(range(50)) and worker.backlog == 0


def test_a_full_queue_drops_the_oldest_and_says_so() -> None:
    gate, started = threading.Event(), threading.Event()
    done: list[int] = []
    dropped: list[int] = []

    def work(item: int) -> None:
        started.set()
        gate.wait(5.0)
        done.append(item)

    worker: Worker[int] = Worker(work, lambda: None, dropped.append, capacity=2)
    worker.put(0)
    assert started.wait(5.0)  # 0 is in work and no longer waits
    for item in (1, 2, 3):
        worker.put(item)
    assert dropped == [1] and worker.backlog == 3
    gate.set()
    worker.stop()
    assert done == [0, 2, 3]


def test_idle_runs_between_items_on_request() -> None:
    called = threading.Event()
    worker: Worker[int] = Worker(lambda _: None, called.set, pytest.fail, capacity=2)
    worker.request_idle()
    assert called.wait(5.0)
    worker.stop()


def test_an_error_ends_the_thread_and_is_kept() -> None:
    def work(_: int) -> None:
        raise ValueError("broken frame")

    worker: Worker[int] = Worker(work, lambda: None, pytest.fail, capacity=2)
    worker.put(1)
    worker.stop()
    assert isinstance(worker.error, ValueError)
