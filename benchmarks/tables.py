"""Write a benchmark's table as Markdown and CSV, with what it was measured on."""

import csv
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
RECORDED_VERSIONS = ("numpy", "scipy", "torch", "opencv-python-headless", "open3d")

Row = Mapping[str, object]


def data_dir() -> Path:
    """Return the folder of the real recordings, from US_RECON_DATA or beside the project.

    Raises:
        SystemExit: The folder does not exist; the message says where it was looked for.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("US_RECON_DATA", beside))
    if not folder.is_dir():
        raise SystemExit(f"no recordings at {folder}; set US_RECON_DATA to their folder")
    return folder


def write_table(name: str, rows: Sequence[Row], note: str, results: Path = RESULTS) -> str:
    """Print a table, write it to `results/name.md` and `.csv`, and return its Markdown.

    Args:
        name: File name without its ending.
        rows: One mapping per row; the first row's keys are the columns.
        note: What was measured, on what, and what was fixed where; Markdown.
        results: Folder to write to.
    """
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row[column]) for column in columns)} |" for row in rows]
    text = f"# {name}\n\n{note.strip()}\n\n" + "\n".join(lines) + f"\n\n{_provenance()}\n"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.md").write_text(text)
    with (results / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({column: _cell(row[column]) for column in columns} for row in rows)
    print(text)
    return text


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _provenance() -> str:
    installed = ", ".join(f"{name} {_version(name)}" for name in RECORDED_VERSIONS)
    return (
        f"_{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, Python "
        f"{platform.python_version()}, {installed}, {os.cpu_count()} cores, "
        f"{platform.machine()}._"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"
