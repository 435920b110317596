"""`us-recon simulate`: a virtual acquisition with known truth as a bag."""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from us_recon.cli.options import add_settings, given_settings
from us_recon.errors import InputError
from us_recon.imaging.events import AcquisitionEvent, ImageEvent
from us_recon.imaging.probe import ProbeKind
from us_recon.io.bag import Storage, truth_folder, write_bag
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.arrays import write_arrays
from us_recon.simulation.catalogue import PATIENTS, patient_kind
from us_recon.simulation.cell import CellSettings, ScanningCell
from us_recon.simulation.options import PARTS, cell_from_values, sorted_by_part
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scanner.imager import ImagerSettings
from us_recon.simulation.tracker import TrackerSettings
from us_recon.simulation.truth import write_truth

ARRAYS_SUFFIX = ".npz"
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
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the new bag; a name in .npz gets plain arrays instead, with the truth "
        "in a folder beside it",
    )
    parser.add_argument(
        "--patient",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the patient, as in --patient shift_mm=5 (may be repeated); "
        "--patient help lists them",
    )
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
    add_settings(parser, ImagerSettings, "scanner")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Simulate and write the bag or the arrays."""
    use_one_thread()
    if "help" in parsed.patient:
        _CONSOLE.print(patient_help(parsed.scene), markup=False, soft_wrap=True)
        return 0
    if parsed.out is None:
        raise InputError("--out is missing; give the folder of the new bag, or a name in .npz")
    kind = patient_kind(parsed.scene)
    values = {part: given_settings(parsed, part) for part in PARTS}
    values |= sorted_by_part(parsed.patient, kind)
    cell = cell_from_values(parsed.scene, parsed.probe, parsed.seed, values)
    if parsed.out.suffix == ARRAYS_SUFFIX:
        truth_out = parsed.out.with_name(f"{parsed.out.stem}_truth")
        if not parsed.overwrite and parsed.out.exists():
            raise InputError(f"{parsed.out} exists already; give another path or --overwrite")
        counts = write_arrays(cell, parsed.out)
        write_truth(cell, truth_out)
    else:
        truth_out = truth_folder(parsed.out)
        counts = _write_bag(cell, parsed)
    for topic, count in counts.items():
        _CONSOLE.print(f"{count:7d}  {topic}")
    _CONSOLE.print(f"truth in {truth_out}", soft_wrap=True)
    return 0


def patient_help(scene: str) -> str:
    """Return the settings of one kind of patient as lines of text."""
    kind = patient_kind(scene)
    lines = [f"{scene}: {kind.help} Each is drawn from the seed unless it is given:"]
    for item in fields(kind.settings):
        unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
        choices = item.metadata["choices"]
        among = f" One of {', '.join(choices)}." if choices else ""
        lines.append(f"  {item.name}: {item.metadata['help']}{unit}{among}")
    return "\n".join(lines)


def _write_bag(cell: ScanningCell, parsed: argparse.Namespace) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder, Progress(console=_CONSOLE) as progress:
        return write_bag(
            parsed.out,
            _shown(cell, progress),
            storage=Storage(parsed.storage),
            truth=write_truth(cell, Path(folder)),
            overwrite=parsed.overwrite,
        )


def _shown(cell: ScanningCell, progress: Progress) -> Iterator[AcquisitionEvent]:
    """Yield the cell's events and move a progress bar with its images."""
    task = progress.add_task("simulating", total=cell.image_count)
    for event in cell.events():
        if isinstance(event, ImageEvent):
            progress.advance(task)
        yield event
