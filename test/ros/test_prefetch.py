import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from us_recon.ros.prefetch import prefetched


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    with prefetched(items(), ahead=2) as ready:
        first = next(ready)
        assert third.wait(5.0)  # two wait in the queue, so a third is in the making
        assert first == 0 and len(made) <= 4
        assert [first, *ready] == list(range(6))


def test_an_error_is_raised_where_the_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with prefetched(items(), ahead=5) as ready:
        assert next(ready) == 1
        with pytest.raises(ValueError, match="no more"):
            next(ready)


def test_leaving_early_ends_the_thread() -> None:
    def forever() -> Iterator[int]:
        while True:
            yield 0

    before = threading.active_count()
    with prefetched(forever(), ahead=3) as ready:
        next(ready)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
