import pytest

from us_recon.pipeline.statistics import StreamStatistics

S = 1_000_000_000


def test_rate_counts_intervals_not_items() -> None:
    statistics = StreamStatistics()
    assert statistics.rate_hz == 0.0
    for stamp_ns in (0, S // 2, S):  # three items, two intervals, one second
        statistics.arrived(stamp_ns)
    assert statistics.rate_hz == pytest.approx(2.0)


def test_rate_starts_again_when_time_runs_backwards() -> None:
    statistics = StreamStatistics()
    for stamp_ns in (10 * S, 11 * S, 0, S // 4):
        statistics.arrived(stamp_ns)
    assert statistics.rate_hz == pytest.approx(4.0)


def test_latencies_are_of_the_last_items() -> None:
    statistics = StreamStatistics(window=3)
    assert statistics.latency_max_s == 0.0
    for latency_s in (9.0, 1.0, 2.0, 4.0):
        statistics.processed(latency_s)
    assert statistics.latency_median_s == 2.0 and statistics.latency_max_s == 4.0
