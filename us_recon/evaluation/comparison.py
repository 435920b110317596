"""What moved between two runs of the benchmarks: tables compared row by row, figure by figure."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from us_recon.errors import InputError

Table = list[dict[str, str]]

_NOT_MEASURED = ("", "-", "nan", "none", "no surface")


@dataclass(frozen=True)
class Change:
    """One figure of one row in both runs.

    Attributes:
        table: Name of the table.
        row: What the row is about.
        column: What was measured.
        before: The first run's figure, as it stands in the table.
        after: The second run's.
        relative: Change as a share of the first run's figure; infinite where one of the two is
            missing or the first is 0; NaN where the two are texts.
    """

    table: str
    row: str
    column: str
    before: str
    after: str
    relative: float


@dataclass(frozen=True)
class Comparison:
    """Two runs of the benchmarks side by side.

    Attributes:
        changes: Figures that differ, the largest relative change first within each table.
        same: How many figures are equal.
        only_before: Tables, rows and columns that the second run lacks.
        only_after: Those that the first run lacks.
    """

    changes: tuple[Change, ...]
    same: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def read_tables(path: Path) -> dict[str, Table]:
    """Read one CSV file, or all of a folder, by name.

    Raises:
        InputError: There is no CSV file, or one cannot be read.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no .csv file; expected the results of a benchmark")
    return {file.stem: parse_table(file.read_text("utf-8"), str(file)) for file in files}


def parse_table(text: str, name: str) -> Table:
    """Read the text of a CSV file whose first line names the columns.

    Raises:
        InputError: A row has another number of cells than there are columns, or there is none.
    """
    table = list(csv.DictReader(io.StringIO(text)))
    if not table:
        raise InputError(f"{name} holds no row; expected a table with a header")
    for number, row in enumerate(table, start=2):
        if None in row or None in row.values():
            raise InputError(f"{name}, line {number}: expected {len(table[0])} cells")
    return table


def compare(before: Mapping[str, Table], after: Mapping[str, Table]) -> Comparison:
    """Compare tables of the same name; rows are matched by the text cells they begin with."""
    changes: list[Change] = []
    same = 0
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    for name in [name for name in before if name in after]:
        first, second = before[name], after[name]
        keys = _key_columns(first + second)
        first_rows, second_rows = _by_key(first, keys), _by_key(second, keys)
        gone += [f"{name}: {key}" for key in first_rows if key not in second_rows]
        new += [f"{name}: {key}" for key in second_rows if key not in first_rows]
        gone += [f"{name}: column {column}" for column in first[0] if column not in second[0]]
        new += [f"{name}: column {column}" for column in second[0] if column not in first[0]]
        moved = []
        for key in [key for key in first_rows if key in second_rows]:
            one, other = first_rows[key], second_rows[key]
            for column in [c for c in one if c in other and c not in keys]:
                if one[column] == other[column]:
                    same += 1
                    continue
                relative = relative_change(one[column], other[column])
                moved.append(Change(name, key, column, one[column], other[column], relative))
        changes += sorted(moved, key=lambda change: -_size(change.relative))
    return Comparison(tuple(changes), same, tuple(gone), tuple(new))


def relative_change(before: str, after: str) -> float:
    """Return by what share a figure grew; see `Change.relative`."""
    first, second = number_of(before), number_of(after)
    if first is None and second is None:
        return math.nan
    if first is None or second is None or first == 0 or not math.isfinite(first):
        return math.inf
    return (second - first) / abs(first)


def number_of(cell: str) -> float | None:
    """Return the number in a cell ("3.2", "85%"), or None where it holds none."""
    text = cell.strip().rstrip("%")
    if text.lower() in _NOT_MEASURED:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _key_columns(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the columns before the first one that holds a number."""
    keys: list[str] = []
    for column in rows[0]:
        if any(number_of(row.get(column, "")) is not None for row in rows):
            break
        keys.append(column)
    return keys


def _by_key(table: Table, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return rows by name; rows of the same name are counted."""
    seen: Counter[str] = Counter()
    found = {}
    for row in table:
        name = ", ".join(row[column] for column in keys if column in row) or "row"
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = row
    return found


def _size(relative: float) -> float:
    return -1.0 if math.isnan(relative) else abs(relative)
