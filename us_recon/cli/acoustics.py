"""`us-recon acoustics`: the acoustic properties of a patient from an MRI, a CT or labels."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.hounsfield import acoustic_volume_from_ct
from us_recon.acoustics.label_map import acoustic_volume_from_labels
from us_recon.acoustics.mri_map import MriMapSettings, acoustic_volume_from_mri
from us_recon.acoustics.volume import AcousticVolume
from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import ConfigError, InputError
from us_recon.evaluation.acoustic_picture import acoustic_picture
from us_recon.files import atomic_path
from us_recon.imaging.volume import Volume
from us_recon.io.acoustic_volumes import VOLUMES, check_acoustic_path, write_acoustic_volume
from us_recon.io.volumes import read_volume
from us_recon.pipeline.threads import use_one_thread


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "acoustics",
        help="make impedance, attenuation and backscatter from an MRI, a CT or labels",
        description="Writes one NIfTI file of four volumes: impedance (MRayl), attenuation "
        "(dB/cm/MHz), backscatter (grey matter = 1), and where the tissue is known.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="MRI, CT or labelled volume")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--contrast", choices=tuple(CONTRASTS), help="the image is such an MRI")
    what.add_argument("--ct", action="store_true", help="the image is a CT in Hounsfield units")
    what.add_argument(
        "--labels",
        metavar="NAMES",
        help="the image holds labels: their tissues as '1=csf 2=grey_matter' or a JSON file "
        'such as {"1": "csf"}; "unknown" marks what is not known',
    )
    parser.add_argument("--lesion", type=Path, help="mask of a lesion on the MRI's grid, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help=".nii or .nii.gz")
    parser.add_argument("--picture", type=Path, help="also draw the middle planes, .png")
    add_settings(parser, MriMapSettings, "from an MRI")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Make, write and, where asked, draw the properties."""
    use_one_thread()
    check_acoustic_path(parsed.out)
    if parsed.picture is not None and parsed.picture.suffix.lower() != ".png":
        raise InputError(f"{parsed.picture}: pictures are written as .png")
    if parsed.lesion is not None and parsed.contrast is None:
        raise ConfigError("--lesion needs an MRI, --contrast t1, t2 or flair")
    image = read_volume(parsed.image)
    acoustic = made_from(image, parsed)
    write_acoustic_volume(parsed.out, acoustic)
    console = Console()
    if parsed.picture is not None:
        name = parsed.contrast or ("CT" if parsed.ct else "labels")
        picture = acoustic_picture(image, acoustic, name)
        with atomic_path(parsed.picture) as partial:
            cv2.imwrite(str(partial), picture[..., ::-1])
    _report(console, parsed.out, acoustic)
    return 0


def made_from(image: Volume, parsed: argparse.Namespace) -> AcousticVolume:
    """Return the properties of what the command line says the image is."""
    if parsed.ct:
        return acoustic_volume_from_ct(image)
    if parsed.labels is not None:
        return acoustic_volume_from_labels(image, parse_names(parsed.labels))
    lesion = None if parsed.lesion is None else read_volume(parsed.lesion)
    return acoustic_volume_from_mri(
        image, parsed.contrast, settings_from(parsed, MriMapSettings), lesion
    )


def parse_names(text: str) -> dict[int, str]:
    """Read the tissues of labels from a JSON file or from ``1=csf 2=grey_matter``.

    Raises:
        InputError: Neither.
    """
    try:
        if "=" in text:
            pairs = [part.split("=", 1) for part in text.replace(",", " ").split()]
            return {int(label): name for label, name in pairs}
        content = json.loads(Path(text).read_text())
        if not isinstance(content, Mapping):
            raise ValueError(f"it holds {type(content).__name__}, not an object")
        return {int(label): str(name) for label, name in content.items()}
    except (OSError, ValueError) as error:
        raise InputError(
            f"--labels {text!r}: {error}; expected '1=csf 2=grey_matter' or a JSON file such as "
            '{"1": "csf", "2": "grey_matter"}'
        ) from error


def _report(console: Console, out: Path, acoustic: AcousticVolume) -> None:
    known = acoustic.inside > 0.5
    size = " x ".join(map(str, acoustic.inside.shape))
    console.print(
        f"{out}: {size} voxels, {float(known.float().mean()):.1%} known",
        highlight=False,
        soft_wrap=True,
    )
    for name in VOLUMES[:3]:
        values = getattr(acoustic, name)[known].numpy()
        low, middle, high = np.percentile(values, [1, 50, 99])
        console.print(f"  {name}: {low:.3g} to {high:.3g}, median {middle:.3g}", highlight=False)
