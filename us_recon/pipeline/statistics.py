"""Rates and delays of a stream, over its last items."""

from collections import deque
from statistics import median

from us_recon.geometry.pose_buffer import NS_PER_S


class StreamStatistics:
    """Keep the last stamps and delays and answer with their rate and spread."""

    def __init__(self, window: int = 100) -> None:
        """Start empty; `window` items are remembered."""
        self._stamps_ns: deque[int] = deque(maxlen=window)
        self._latencies_s: deque[float] = deque(maxlen=window)

    def arrived(self, stamp_ns: int) -> None:
        """Note an item by its acquisition time."""
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1]:
            self._stamps_ns.clear()
        self._stamps_ns.append(stamp_ns)

    def processed(self, latency_s: float) -> None:
        """Note how long after its acquisition an item was done."""
        self._latencies_s.append(latency_s)

    @property
    def rate_hz(self) -> float:
        """Items per second of acquisition time; 0 where fewer than two are known."""
        if len(self._stamps_ns) < 2 or self._stamps_ns[-1] == self._stamps_ns[0]:
            return 0.0
        span_s = (self._stamps_ns[-1] - self._stamps_ns[0]) / NS_PER_S
        return (len(self._stamps_ns) - 1) / span_s

    @property
    def latency_median_s(self) -> float:
        """Median delay; 0 where none is known."""
        return median(self._latencies_s) if self._latencies_s else 0.0

    @property
    def latency_max_s(self) -> float:
        """Largest delay; 0 where none is known."""
        return max(self._latencies_s, default=0.0)
