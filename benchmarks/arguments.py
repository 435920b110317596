"""What every benchmark is told: all of it or a fast part, and on which seeds."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.tables import RESULTS


class Seeded(Protocol):
    """A set whose patients are drawn from seeds."""

    @property
    def seeds_dev(self) -> tuple[int, ...]: ...
    @property
    def seeds_test(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Run:
    """One run of a benchmark.

    Attributes:
        fast: Measure a few cases only.
        dev: Measure the development seeds, for choosing settings.
        pictures: Folder of the pictures, None for none.
    """

    fast: bool = False
    dev: bool = False
    pictures: Path | None = None

    @property
    def results(self) -> Path:
        """Folder of the tables: those of a part never replace those of the whole."""
        folder = RESULTS / "dev" if self.dev else RESULTS
        return folder / "fast" if self.fast else folder

    def seeds(self, of: Seeded, fast_count: int = 1) -> tuple[int, ...]:
        """Return the seeds to measure on."""
        seeds = of.seeds_dev if self.dev else of.seeds_test
        return seeds[:fast_count] if self.fast else seeds


def parse_run(doc: str | None, arguments: Sequence[str] | None = None) -> Run:
    """Read the command line of a benchmark."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--fast", action="store_true", help="a few cases only, to results/fast")
    parser.add_argument("--dev", action="store_true", help="development seeds, to results/dev")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures")
    parsed = parser.parse_args(arguments)
    return Run(parsed.fast, parsed.dev, parsed.pictures)
