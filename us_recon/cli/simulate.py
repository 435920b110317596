"""`us-recon simulate`: a virtual acquisition with known truth as a bag."""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from us_recon.cli.options import add_settings, given_settings
from us_recon.imaging.events import AcquisitionEvent, ImageEvent
from us_recon.imaging.probe import ProbeKind
from us_recon.io.bag import Storage, truth_folder, write_bag
from us_recon.settings import from_mapping
from us_recon.simulation.catalogue import PATIENTS
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.tracker import TrackerSettings
from us_recon.simulation.truth import write_truth

_CONSOLE = Console()


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "simulate", help="make a bag of a virtual patient, with its truth"
    )
    parser.add_argument("scene", choices=tuple(PATIENTS), help="virtual patient")
    parser.add_argument(
        "--probe",
        choices=tuple(ProbeKind),
        default=ProbeKind.CONVEX.value,
        help="virtual probe (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of patient, speckle and tracking (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bag")
    parser.add_argument(
        "--storage",
        choices=tuple(Storage),
        default=Storage.MCAP.value,
        help="format of the bag (%(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bag that is there")
    add_settings(parser, SweepSettings, "sweep (defaults depend on the scene)")
    add_settings(parser, TrackerSettings, "tracker")
    add_settings(parser, CellSettings, "acquisition")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Simulate and write the bag."""
    usual = asdict(PATIENTS[parsed.scene].sweep)
    sweep = from_mapping(SweepSettings, usual | given_settings(parsed, SweepSettings))
    cell = make_cell(
        parsed.scene,
        parsed.probe,
        parsed.seed,
        sweep,
        from_mapping(TrackerSettings, given_settings(parsed, TrackerSettings)),
        from_mapping(CellSettings, given_settings(parsed, CellSettings)),
    )
    with tempfile.TemporaryDirectory() as folder, Progress(console=_CONSOLE) as progress:
        truth = write_truth(cell, Path(folder))
        counts = write_bag(
            parsed.out,
            _shown(cell, progress),
            storage=Storage(parsed.storage),
            truth=truth,
            overwrite=parsed.overwrite,
        )
    for topic, count in counts.items():
        _CONSOLE.print(f"{count:7d}  {topic}")
    _CONSOLE.print(f"truth in {truth_folder(parsed.out)}", soft_wrap=True)
    return 0


def _shown(cell: ScanningCell, progress: Progress) -> Iterator[AcquisitionEvent]:
    """Yield the cell's events and move a progress bar with its images."""
    task = progress.add_task("simulating", total=cell.image_count)
    for event in cell.events():
        if isinstance(event, ImageEvent):
            progress.advance(task)
        yield event
