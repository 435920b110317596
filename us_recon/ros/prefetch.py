"""Make items in a thread of their own, some ahead of their use."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.1


class _End:
    """Ends the queue, with the error that ended the items, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetched(items: Iterable[T], ahead: int) -> Iterator[Iterator[T]]:
    """Give the items in their order, made up to `ahead` items before they are asked for.

    An error of the items is raised where they are used. Leaving the context ends the thread.
    """
    queue: Queue[T | _End] = Queue(maxsize=ahead)
    stopping = threading.Event()

    def put(item: T | _End) -> None:
        while not stopping.is_set():
            try:
                queue.put(item, timeout=_POLL_S)
            except Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stopping.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=make, name="us_recon prefetch", daemon=True)
    thread.start()
    try:
        yield _taken(queue)
    finally:
        stopping.set()
        thread.join()


def _taken(queue: "Queue[T | _End]") -> Iterator[T]:
    while True:
        try:
            item = queue.get(timeout=_POLL_S)
        except Empty:
            continue
        if not isinstance(item, _End):
            yield item
        elif item.error is not None:
            raise item.error
        else:
            return
