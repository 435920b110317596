"""`us-recon convert`: recordings of other formats become bags."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from us_recon.io.bag import Storage, write_bag
from us_recon.io.plus import read_plus_recording
from us_recon.io.ultrabones import read_leg_recording

_CONSOLE = Console()


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and its formats."""
    parser = subparsers.add_parser("convert", help="make a bag of a recording in another format")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")

    plus = formats.add_parser("plus", help="a tracked sequence of the PLUS toolkit")
    plus.add_argument("sequence", type=Path, help=".igs.mha, .igs.nrrd, ...")
    plus.add_argument(
        "--config",
        type=Path,
        required=True,
        help="device set configuration (XML) with ImageToProbe",
    )
    plus.add_argument("--world", help="PLUS frame that becomes `world` (Reference, else Tracker)")
    plus.add_argument("--image", help="PLUS's name of the frame of the images' pixels (Image)")
    plus.add_argument("--probe", default="Probe", help="PLUS's name of the probe (%(default)s)")
    plus.add_argument(
        "--whole-image",
        action="store_true",
        help="a linear array as wide as the image, whatever the ScanConversion element says",
    )
    plus.add_argument(
        "--keep-untracked",
        action="store_true",
        help="keep images without a valid pose; a node may then interpolate one",
    )
    plus.set_defaults(run=run_plus)

    leg = formats.add_parser("ultrabones", help="a leg recording of UltraBones100k (PNG and CSV)")
    leg.add_argument("folder", type=Path, help="holds the CSV of poses and UltrasoundImages/")
    leg.set_defaults(run=run_ultrabones)

    for command in (plus, leg):
        command.add_argument("--out", type=Path, required=True, help="folder of the new bag")
        command.add_argument(
            "--storage",
            choices=tuple(Storage),
            default=Storage.MCAP.value,
            help="format of the bag (%(default)s)",
        )
        command.add_argument(
            "--truth",
            type=Path,
            nargs="*",
            default=None,
            help="files kept with the bag as its truth",
        )
        command.add_argument("--overwrite", action="store_true", help="replace a bag that is there")


def run_plus(parsed: argparse.Namespace) -> int:
    """Convert a PLUS sequence."""
    recording = read_plus_recording(
        parsed.sequence,
        parsed.config,
        world=parsed.world,
        image=parsed.image,
        probe=parsed.probe,
        whole_image=parsed.whole_image,
    )
    counts = write_bag(
        parsed.out,
        track(
            recording.events(parsed.keep_untracked),
            total=2 * len(recording.frames) + 2,
            description="writing",
            console=_CONSOLE,
        ),
        storage=Storage(parsed.storage),
        truth=[parsed.config, *(parsed.truth or [])],
        overwrite=parsed.overwrite,
    )
    _report(parsed.out, counts)
    _CONSOLE.print(f"world is PLUS's {recording.world}", highlight=False)
    if recording.untracked:
        kept = "kept" if parsed.keep_untracked else "left out"
        _CONSOLE.print(f"{recording.untracked} images without a valid pose: {kept}", style="yellow")
    if recording.without_image:
        _CONSOLE.print(f"{recording.without_image} frames without an image", style="yellow")
    return 0


def run_ultrabones(parsed: argparse.Namespace) -> int:
    """Convert a leg recording."""
    recording = read_leg_recording(parsed.folder)
    truth = sorted(parsed.folder.glob("*.stl")) if parsed.truth is None else parsed.truth
    counts = write_bag(
        parsed.out,
        track(
            recording.events(),
            total=2 * len(recording.poses) + 2,
            description="writing",
            console=_CONSOLE,
        ),
        storage=Storage(parsed.storage),
        truth=truth,
        overwrite=parsed.overwrite,
    )
    _report(parsed.out, counts)
    if recording.without_image:
        _CONSOLE.print(f"{recording.without_image} rows without an image", style="yellow")
    return 0


def _report(out: Path, counts: dict[str, int]) -> None:
    _CONSOLE.print(f"{out}:", highlight=False, soft_wrap=True)
    for topic, count in counts.items():
        _CONSOLE.print(f"  {topic}  {count}", highlight=False)
