"""`us-recon play`: publish a bag over ROS 2, with ``/clock``."""

import argparse
import signal
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import ConfigError
from us_recon.io.bag import BagReader, TopicNames

NS_PER_S = 1_000_000_000


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "play", help="publish a bag over ROS 2, with /clock (needs ROS 2, not rosbag2)"
    )
    parser.add_argument("bag", type=Path, help="folder of the bag")
    parser.add_argument("--rate", type=float, default=1.0, help="speed (default %(default)s)")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="longest wait for a reader of the images (default %(default)s)",
    )
    add_settings(parser, TopicNames, "topics")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Play the bag until its end or Ctrl-C."""
    topics = settings_from(parsed, TopicNames)
    with BagReader(parsed.bag, topics) as bag:  # a broken bag is reported before ROS starts
        duration_s = bag.duration_s
    try:
        player = import_module("us_recon.ros.player")  # needs ROS, as no other command here does
    except ImportError as error:
        raise ConfigError(
            f"play needs ROS 2 and the package's messages ({error}); source ROS 2 and the "
            "workspace, or `. ./env.sh` after `make setup`"
        ) from error
    # Launch files and service managers end a process with SIGTERM: treat it as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    columns = (TextColumn("playing"), BarColumn(), TextColumn("{task.completed:.1f} s"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("playing", total=duration_s)
        result = player.play_bag(
            parsed.bag,
            rate=parsed.rate,
            loop=parsed.loop,
            wait_s=parsed.wait,
            topics=topics,
            on_progress=lambda played_s, _: progress.update(task, completed=played_s),
        )
    console.print(f"{result.messages} messages played", highlight=False)
    if result.skipped:
        missing = ", ".join(result.skipped)
        console.print(f"not played, their types are not installed: {missing}", style="yellow")
    return 0
