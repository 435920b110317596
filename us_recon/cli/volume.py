"""`us-recon volume`: a freehand 3-D reconstruction of a bag's images."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from us_recon.cli.options import add_settings, given_settings, settings_from
from us_recon.errors import InputError
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.imaging.compounding import (
    CompoundedVolume,
    CompoundingSettings,
    compound,
    grid_of_frames,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.region import Fan, ImageRegion
from us_recon.imaging.volume import Volume
from us_recon.io.bag import TopicNames, frames_from_bag
from us_recon.io.plus import Reconstruction, read_plus_config
from us_recon.io.volumes import Frame, check_writable, write_volume
from us_recon.settings import overridden


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "volume", help="paste a bag's images into a volume (freehand 3-D reconstruction)"
    )
    parser.add_argument("bag", type=Path, help="folder of the bag")
    parser.add_argument(
        "--out", type=Path, required=True, help=".mha, .nrrd, .nii or .nii.gz, in the world frame"
    )
    parser.add_argument(
        "--coverage", type=Path, help="also write which voxels were measured (2) or filled (1)"
    )
    parser.add_argument("--spacing", dest="spacing_mm", type=float, help="same as --spacing-mm")
    parser.add_argument(
        "--clip",
        type=int,
        nargs=4,
        metavar=("COLUMN", "ROW", "WIDTH", "HEIGHT"),
        help="use only this rectangle of the images, px",
    )
    parser.add_argument(
        "--fan",
        type=float,
        nargs=6,
        metavar=("COLUMN", "ROW", "FIRST_DEG", "LAST_DEG", "INNER", "OUTER"),
        help="use only this fan: origin (px), angles from straight down (deg), radii (px)",
    )
    parser.add_argument(
        "--plus-config",
        type=Path,
        help="take settings, clip rectangle and fan from a PLUS VolumeReconstruction element",
    )
    add_settings(parser, CompoundingSettings, "reconstruction")
    add_settings(parser, TopicNames, "topics")
    add_settings(parser, AssemblerSettings, "how images find their poses")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Reconstruct and write the volume."""
    console = Console()
    check_writable(parsed.out)
    settings, region = settings_and_region(parsed)
    assembler_settings = settings_from(parsed, AssemblerSettings)
    topics = settings_from(parsed, TopicNames)
    assembler = FrameAssembler(assembler_settings)

    def frames(counting: FrameAssembler | None = None) -> Iterator[TrackedFrame]:
        return frames_from_bag(parsed.bag, assembler_settings, topics, counting)

    # The bag is read twice, first for its extent, so that it need not fit into memory.
    grid = grid_of_frames(frames(), settings.spacing_mm, region)
    progress = track(frames(assembler), description="compounding", console=console)
    result = compound(progress, grid, settings, region)
    write_volume(parsed.out, result.volume, Frame.FILE, np.uint8)
    if parsed.coverage is not None:
        write_volume(parsed.coverage, _coverage(result), Frame.FILE, np.uint8)
    _report(console, parsed.out, result, assembler)
    return 0


def settings_and_region(parsed: argparse.Namespace) -> tuple[CompoundingSettings, ImageRegion]:
    """Return what the command line asks for; it overrides a PLUS configuration."""
    base = Reconstruction(CompoundingSettings(), ImageRegion())
    if parsed.plus_config is not None:
        found = read_plus_config(parsed.plus_config).reconstruction
        if found is None:
            raise InputError(f"{parsed.plus_config} has no VolumeReconstruction element")
        base = found
    given = given_settings(parsed, CompoundingSettings)
    settings = overridden(base.settings, given)
    clip, fan = base.region.clip_px, base.region.fan
    if parsed.clip is not None:
        column, row, width, height = parsed.clip
        clip = (column, row, width, height)
    if parsed.fan is not None:
        column, row, first, last, inner, outer = parsed.fan
        fan = Fan((column, row), (first, last), (inner, outer))
    return settings, ImageRegion(clip, fan)


def _coverage(result: CompoundedVolume) -> Volume:
    data = 2.0 * result.covered + 1.0 * result.filled
    return Volume(data.astype(np.float32), result.volume.T_space_index)


def _report(
    console: Console, out: Path, result: CompoundedVolume, assembler: FrameAssembler
) -> None:
    size = " x ".join(str(extent) for extent in result.volume.data.shape)
    spacing_mm = float(result.volume.spacing_mm[0])
    console.print(f"{out}: {size} voxels of {spacing_mm:g} mm", highlight=False, soft_wrap=True)
    console.print(
        f"{result.frame_count} images, {result.covered.mean():.1%} of the voxels measured"
        + (f", {result.filled.mean():.1%} filled" if result.filled.any() else ""),
        highlight=False,
    )
    for reason, count in assembler.drops.most_common():
        detail = assembler.details[reason]
        console.print(f"{count} left out, {reason}: {detail}", style="yellow", markup=False)
