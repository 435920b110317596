"""`us-recon replay`: the mapper's mesh from a bag, without ROS and deterministically."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from us_recon.cli.options import add_settings, given_settings, settings_from
from us_recon.errors import ConfigError
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.io.bag import TopicNames, frames_from_bag, require_frames
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.pipeline.configuration import load_settings
from us_recon.pipeline.mapping import MAP_FILE, MESH_FILE, save_map_outputs
from us_recon.pipeline.node_settings import ConsumerSettings, MapperNodeSettings, SourceSettings
from us_recon.settings import overridden

NODE = "occupancy_mapper"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "replay", help="map a bag offline with the object that the mapper node runs"
    )
    parser.add_argument("bag", type=Path, help="folder of the bag")
    parser.add_argument(
        "--out", type=Path, required=True, help=f"folder that gets {MESH_FILE} and {MAP_FILE}"
    )
    parser.add_argument(
        "--config", type=Path, help="parameter file of the nodes (see `us-recon parameters`)"
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help=f"go on from a {MAP_FILE} of an earlier scan in the same frame, with the settings it "
        "was made with; it stays as it is",
    )
    parser.add_argument(
        "--look-again",
        type=int,
        metavar="STEPS",
        help="map the bag twice: before the second time the adaptive detector learns all labels "
        "together, for this many steps (400 is usual)",
    )
    add_settings(parser, MapperSettings, "mapper")
    add_settings(parser, AssemblerSettings, "how images find their poses")
    add_settings(parser, TopicNames, "topics")
    parser.set_defaults(run=run)


def _check(look_again: int | None, settings: MapperSettings) -> None:
    if look_again is None:
        return
    if look_again < 1:
        raise ConfigError(f"--look-again is {look_again}; expected 1 step or more, 400 is usual")
    if settings.detector != "adaptive":
        raise ConfigError(
            f"--look-again with detector {settings.detector!r}, which learns nothing; "
            "add --detector adaptive"
        )


def _go_on_from(path: Path, given: Mapping[str, Any]) -> OccupancyMapper:
    """Return the mapper that wrote a map; only its prior may be another."""
    others = sorted(set(given) - {"prior"})
    if others:
        raise ConfigError(
            f"--map goes on with the map's own settings; leave out {', '.join(others)}"
        )
    return OccupancyMapper.load(path, prior=given.get("prior"))


def run(parsed: argparse.Namespace) -> int:
    """Map the bag and write what came of it."""
    console = Console()
    mapper_settings, assembler_settings, *_ = load_settings(
        parsed.config,
        NODE,
        MapperSettings,
        AssemblerSettings,
        MapperNodeSettings,
        SourceSettings,
        ConsumerSettings,
    )
    given = given_settings(parsed, MapperSettings)
    mapper = (
        _go_on_from(parsed.map, given)
        if parsed.map
        else OccupancyMapper(overridden(mapper_settings, given))
    )
    _check(parsed.look_again, mapper.settings)
    assembler_settings = overridden(assembler_settings, given_settings(parsed, AssemblerSettings))
    topics = settings_from(parsed, TopicNames)
    for last in (False, True) if parsed.look_again else (True,):
        if last and parsed.look_again:
            mapper.look_again(parsed.look_again)
        assembler = FrameAssembler(assembler_settings, late_labels=True)
        frames = frames_from_bag(parsed.bag, topics=topics, assembler=assembler)
        for frame in track(frames, description="mapping", console=console):
            mapper.integrate(frame, steps=None if last else 0)
    require_frames(parsed.bag, assembler)
    drops = {str(reason): count for reason, count in sorted(assembler.drops.items())}
    mapper.settle()
    snapshot = save_map_outputs(mapper, parsed.out, drops)
    console.print(
        f"{snapshot.frames} of {assembler.images_received} images used, "
        f"{snapshot.frames_with_surface} of them show a surface"
    )
    for line in assembler.told_drops():
        console.print(f"  {line}", markup=False)
    console.print(
        f"{parsed.out / MESH_FILE}: {len(snapshot.mesh.vertices_mm)} vertices, "
        f"{snapshot.mesh.area_mm2 / 100.0:.1f} cm² {snapshot.message}".rstrip(),
        soft_wrap=True,
    )
    if snapshot.prior is not None:
        console.print(snapshot.prior.message, markup=False)
    return 0
