"""`us-recon bench compare`: what moved between two runs of the benchmarks."""

import argparse
import json
import math
import subprocess
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from us_recon.errors import InputError
from us_recon.evaluation.comparison import (
    Change,
    Comparison,
    Table,
    compare,
    parse_table,
    read_tables,
)

RESULTS = "benchmarks/results"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser("bench", help="compare runs of the benchmarks")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    comparing = kinds.add_parser("compare", help="what moved between two runs")
    for name in ("before", "after"):
        comparing.add_argument(
            name,
            help="a folder of results, one .csv table, or a git revision of this repository, "
            f"whose {RESULTS} is meant",
        )
    comparing.add_argument(
        "--tolerance",
        type=float,
        default=0.02,
        help="leave out figures that changed by less than this share (%(default)s)",
    )
    comparing.add_argument("--only", help="one table alone, such as spine_k5")
    comparing.add_argument("--json", action="store_true", help="print everything as JSON")
    comparing.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print the figures that moved, the largest change of each table first."""
    if not parsed.tolerance >= 0:
        raise InputError(f"--tolerance is {parsed.tolerance}; expected 0 or more")
    before, after = tables_of(parsed.before), tables_of(parsed.after)
    if parsed.only:
        before, after = (_only(parsed.only, tables) for tables in (before, after))
    found = compare(before, after)
    console = Console(soft_wrap=True)
    if parsed.json:
        plain = asdict(found)
        for change in plain["changes"]:
            if not math.isfinite(change["relative"]):
                change["relative"] = None
        console.print_json(json.dumps(plain))
        return 0
    show(found, parsed.tolerance, console)
    return 0


def tables_of(place: str) -> dict[str, Table]:
    """Read the tables of a folder, a file or a git revision.

    Raises:
        InputError: It is none of the three, or holds no table.
    """
    path = Path(place)
    if path.exists():
        return read_tables(path)
    names = _git("ls-tree", "--name-only", place, f"{RESULTS}/", place=place).splitlines()
    tables = {
        Path(name).stem: parse_table(_git("show", f"{place}:{name}", place=place), name)
        for name in names
        if name.endswith(".csv")
    }
    if not tables:
        raise InputError(f"revision {place} holds no table in {RESULTS}")
    return tables


def show(found: Comparison, tolerance: float, console: Console) -> None:
    """Print a comparison as a table."""
    moved = [change for change in found.changes if not abs(change.relative) < tolerance]
    if moved:
        table = RichTable("table", "row", "figure", "before", "after", "change")
        for change in moved:
            table.add_row(
                change.table, change.row, change.column, change.before, change.after, _share(change)
            )
        console.print(table)
    small = len(found.changes) - len(moved)
    console.print(
        f"figures that moved by {tolerance:.0%} or more: {len(moved)}; by less: {small}; "
        f"the same: {found.same}",
        highlight=False,
    )
    for title, names in (("only before", found.only_before), ("only after", found.only_after)):
        for name in names:
            console.print(f"{title}: {name}", markup=False, highlight=False)


def _share(change: Change) -> str:
    if math.isnan(change.relative):
        return "text"
    return "new or gone" if math.isinf(change.relative) else f"{change.relative:+.1%}"


def _only(name: str, tables: dict[str, Table]) -> dict[str, Table]:
    if name not in tables:
        raise InputError(f"no table {name!r}; there are {', '.join(sorted(tables))}")
    return {name: tables[name]}


def _git(*arguments: str, place: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise InputError(
            f"{place} is no folder of results, no .csv file and no git revision here"
        ) from error
    return done.stdout
