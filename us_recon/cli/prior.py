"""`us-recon prior train`: the shapes of an anatomy from earlier subjects."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import InputError
from us_recon.occupancy.mapper import OccupancyMapper
from us_recon.occupancy.mesh_files import FORMATS, read_mesh
from us_recon.occupancy.prior.decoder import ImageDecoder, train_decoder
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.training import Subject, train_prior

if TYPE_CHECKING:  # PyTorch, for maps that learnt from labels
    from us_recon.occupancy.label_learning import LabelLearner

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
    settings = settings_from(parsed, TrainingSettings)
    subjects, learners = [], []
    for path in parsed.subjects:
        subject, learner = _read(path)
        subjects.append(subject)
        learners += [learner] if learner is not None else []
    with console.status(f"aligning {len(subjects)} subjects"):
        shape = train_prior(subjects, settings)
    with console.status("learning from their labels"):
        decoder = train_decoder(learners, settings.decoder_steps)
    write_prior(shape, parsed.out, decoder)
    training = shape.training
    console.print(
        f"{parsed.out}: {len(subjects)} subjects, {shape.mode_count} modes explain "
        f"{training.variance_explained:.1%} of the variance, "
        f"{training.residual_mm:.2f} mm of the surfaces are left",
        soft_wrap=True,
        markup=False,
    )
    console.print(_told(decoder), soft_wrap=True, markup=False)
    return 0


def _told(decoder: ImageDecoder | None) -> str:
    """Return what came of the labels."""
    if decoder is None:
        return "no decoder: no map keeps labels (those scanned with detector adaptive do)"
    found = (
        f"decoder from {decoder.images} labelled images of {decoder.subjects} subjects: "
        f"{decoder.off_mm:.2f} mm off where it had not learnt, the rule {decoder.rule_off_mm:.2f}"
    )
    return found if decoder.useful else f"{found}; the rule stays until labels show otherwise"


def _read(path: Path) -> tuple[Subject, "LabelLearner | None"]:
    """Return a subject and what its map keeps of labels."""
    ending = path.suffix.lower()
    if ending == MAP_ENDING:  # what a prior once filled in is nothing to learn from
        mapper = OccupancyMapper.load(path, prior="")
        return Subject(str(path), mapper.snapshot().mesh), mapper.learner
    if ending not in FORMATS:
        raise InputError(f"{path}: expected {', '.join(FORMATS)} or {MAP_ENDING}")
    return Subject(str(path), read_mesh(path)), None
