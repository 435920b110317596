"""Entry point of the `us-recon` command."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console

from us_recon import __version__
from us_recon.errors import UsReconError

COMMANDS = {
    "convert": "write a recording of another system as a bag",
    "inspect": "tell what is in a bag and what would stop the nodes from working",
    "play": "publish a bag over ROS 2, with /clock",
    "prior": "learn the shapes of an anatomy from earlier subjects, to complete maps with",
    "replay": "map a bag offline with the object that the mapper node runs",
    "volume": "paste a bag's images into a volume (freehand 3-D reconstruction)",
    "acoustics": "make impedance, attenuation and backscatter from an MRI, a CT or labels",
    "render": "draw the ultrasound image to expect at a pose, from an MRI, a CT or labels",
    "fit-device": "estimate gain, time gain and resolution of a scanner from a bag",
    "calibrate": "find the latency of the images, and check the probe calibration",
    "register": "register an MRI to a bag offline with the object that the node runs",
    "evaluate": "measure a result against the truth",
    "bench": "compare runs of the benchmarks",
    "simulate": "write the bag of a virtual scan, with its truth",
    "parameters": "print a parameter file with every setting, its help and its default",
    "demo": "scan, map and register a virtual patient over ROS 2",
}
"""Each a module of this package, with _ for -; only the one that is asked for is imported."""

FILE_ERRORS = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What a wrong path gives; the message names it."""

USER_ERROR = 2
INTERRUPTED = 130


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser, with the options of one command and the names of all."""
    parser = argparse.ArgumentParser(
        prog="us-recon",
        description="Surfaces and MRI registration from tracked ultrasound. Research software, "
        "not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"us_recon {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        if name == command:
            import_module(f"us_recon.cli.{name.replace('-', '_')}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 with a message on what the user can put right."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in given if not word.startswith("-")), None)
    parsed = build_parser(command).parse_args(given)
    try:
        return int(parsed.run(parsed))
    except (UsReconError, *FILE_ERRORS) as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"us-recon {parsed.command}: {error}", style="red", markup=False)
        return USER_ERROR
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
