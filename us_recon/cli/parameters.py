"""`us-recon parameters`: the parameter file with every setting at its default."""

import argparse
import sys
from typing import Any

from us_recon.imaging.assembler import AssemblerSettings
from us_recon.occupancy.mapper import MapperSettings
from us_recon.pipeline.configuration import parameter_file
from us_recon.pipeline.node_settings import (
    CellNodeSettings,
    ConsumerSettings,
    MapperNodeSettings,
    RegistrationNodeSettings,
    SourceSettings,
)
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.surface_start import SurfaceSettings

INPUT = (AssemblerSettings, SourceSettings, ConsumerSettings)
SECTIONS: dict[str, tuple[type[Any], ...]] = {
    "occupancy_mapper": (MapperSettings, MapperNodeSettings, *INPUT),
    "mri_registration": (RegistrationSettings, RegistrationNodeSettings, SurfaceSettings, *INPUT),
    "scanning_cell": (CellNodeSettings,),
}
HEADER = """\
# Every parameter of the nodes at its default, as `us-recon parameters` prints them.
# The offline commands read the same file: `us-recon replay BAG --config FILE`.

"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "parameters", help="print a parameter file with every setting, its help and its default"
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the parameter file."""
    sys.stdout.write(HEADER + parameter_file(SECTIONS))
    return 0
