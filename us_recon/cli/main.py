"""Entry point of the `us-recon` command."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from us_recon import __version__
from us_recon.cli import (
    convert,
    demo,
    evaluate,
    inspect,
    parameters,
    play,
    register,
    replay,
    simulate,
    volume,
)
from us_recon.errors import UsReconError

COMMANDS = (
    convert,
    inspect,
    play,
    replay,
    volume,
    register,
    evaluate,
    simulate,
    parameters,
    demo,
)
USER_ERROR = 2


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command."""
    parser = argparse.ArgumentParser(
        prog="us-recon",
        description="Surfaces and MRI registration from tracked ultrasound. Research software, "
        "not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"us_recon {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 with a message on what the user can put right."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except UsReconError as error:
        Console(stderr=True).print(f"us-recon {parsed.command}: {error}", style="red", markup=False)
        return USER_ERROR
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
