"""`us-recon prior train`: the shapes of an anatomy from earlier subjects."""

import argparse
from pathlib import Path

from rich.console import Console

from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import InputError
from us_recon.occupancy.mapper import OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import FORMATS, read_mesh
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.training import Subject, train_prior

MAP_ENDING = ".npz"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "prior", help="learn the shapes of an anatomy from earlier subjects"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="make a prior, for the mapper's setting `prior`")
    train.add_argument(
        "subjects",
        type=Path,
        nargs="+",
        metavar="MESH_OR_MAP",
        help=f"surface of one subject in mm ({', '.join(FORMATS)}), or the map of one "
        f"({MAP_ENDING}) as `us-recon replay` writes it, in any pose",
    )
    train.add_argument("--out", type=Path, required=True, help="file that gets the prior (.npz)")
    add_settings(train, TrainingSettings, "training")
    train.set_defaults(run=run_train)


def run_train(parsed: argparse.Namespace) -> int:
    """Train a prior and tell what came of it."""
    console = Console()
    subjects = [Subject(str(path), _surface(path)) for path in parsed.subjects]
    with console.status(f"aligning {len(subjects)} subjects"):
        prior = train_prior(subjects, settings_from(parsed, TrainingSettings))
    write_prior(prior, parsed.out)
    training = prior.training
    console.print(
        f"{parsed.out}: {len(subjects)} subjects, {prior.mode_count} modes explain "
        f"{training.variance_explained:.1%} of the variance, "
        f"{training.residual_mm:.2f} mm of the surfaces are left",
        soft_wrap=True,
        markup=False,
    )
    return 0


def _surface(path: Path) -> Mesh:
    """Return the surface of a mesh file, or what was measured for a map."""
    ending = path.suffix.lower()
    if ending == MAP_ENDING:  # what a prior once filled in is nothing to learn from
        return OccupancyMapper.load(path, prior="").snapshot().mesh
    if ending not in FORMATS:
        raise InputError(f"{path}: expected {', '.join(FORMATS)} or {MAP_ENDING}")
    return read_mesh(path)
