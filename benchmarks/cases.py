"""What is common to tables over many cases: a row per case as CSV, and medians over the cases."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Case = Mapping[str, object]


def write_cases(name: str, cases: Sequence[Case], results: Path) -> None:
    """Write all cases to `results/name_cases.csv`; the first one's keys are the columns."""
    results.mkdir(parents=True, exist_ok=True)
    with (results / f"{name}_cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cases[0]))
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in case.items()} for case in cases)


def column(cases: Sequence[Case], key: str) -> np.ndarray:
    """Return one figure of all cases."""
    return np.array([case[key] for case in cases], dtype=float)


def median(cases: Sequence[Case], key: str) -> float:
    """Return the median over cases; infinite ones count, so that failing is no way to win."""
    return float(np.median(column(cases, key)))


def of(cases: Sequence[Case], **wanted: object) -> list[Case]:
    """Return the cases that have these values."""
    return [case for case in cases if all(case[key] == value for key, value in wanted.items())]


def share(hits: np.ndarray) -> str:
    """Return how many of the cases as a percentage, "-" where there is no case."""
    return f"{np.mean(hits):.0%}" if len(hits) else "-"


def _cell(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
