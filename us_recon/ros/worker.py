"""A stoppable thread that works through a queue, oldest first."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """Hand items from callbacks to one thread of work.

    Callbacks only `put`; the thread calls `work(item)` for each in turn, and `idle()` after
    `request_idle` as soon as the item in hand is done. An error in the thread ends it and is
    kept in `error` for the node to report; it is never swallowed.
    """

    def __init__(
        self,
        work: Callable[[T], None],
        idle: Callable[[], None],
        on_drop: Callable[[T], None],
        capacity: int,
    ) -> None:
        """Start the thread.

        Args:
            work: Called with each item.
            idle: Called on request, between two items.
            on_drop: Called with the oldest item when the queue is full.
            capacity: Items that may wait.
        """
        self.error: BaseException | None = None
        self._work, self._idle, self._on_drop = work, idle, on_drop
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._wants_idle = False
        self._busy = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="us_recon worker", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Items that wait or are in work."""
        with self._changed:
            return len(self._items) + self._busy

    @property
    def wanted(self) -> bool:
        """Whether anything waits for the thread: an item, a call of `idle`, or its end."""
        with self._changed:
            return bool(self._items) or self._wants_idle or self._stopping

    def put(self, item: T) -> None:
        """Queue an item; where the queue is full, the oldest one is dropped and reported."""
        dropped = None
        with self._changed:
            if len(self._items) >= self._capacity:
                dropped = self._items.popleft()
            self._items.append(item)
            self._changed.notify()
        if dropped is not None:
            self._on_drop(dropped)

    def request_idle(self) -> None:
        """Ask for one call of `idle`."""
        with self._changed:
            self._wants_idle = True
            self._changed.notify()

    def stop(self, finish: bool = True) -> None:
        """End the thread, after the items that still wait unless told otherwise."""
        with self._changed:
            if not finish:
                self._items.clear()
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._next():
                pass
        except BaseException as error:  # noqa: BLE001 - handed to the node, which reports it
            self.error = error

    def _next(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._wants_idle or self._stopping)
            if not self._items and not self._wants_idle:
                return False
            idle, self._wants_idle = self._wants_idle, False
            item = self._items.popleft() if self._items and not idle else None
            self._busy = item is not None
        if idle:
            self._idle()
        if item is not None:
            self._work(item)
            with self._changed:
                self._busy = False
        return True
