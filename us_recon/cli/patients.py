"""Options that name the patient an image is expected of: an MRI, a CT, labels or a volume."""

import argparse
from pathlib import Path

from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.mri_map import MriMapSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.cli.acoustics import made_from
from us_recon.cli.options import add_settings
from us_recon.errors import ConfigError
from us_recon.imaging.volume import Volume
from us_recon.io.acoustic_volumes import read_acoustic_volume
from us_recon.io.volumes import read_volume


def add_patient(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_patient` reads."""
    group = parser.add_argument_group("patient")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--mri", type=Path, metavar="IMAGE", help="MRI, or with --ct or --labels another image"
    )
    source.add_argument(
        "--acoustics", type=Path, metavar="VOLUME", help="volume that `us-recon acoustics` wrote"
    )
    what = group.add_mutually_exclusive_group()
    what.add_argument("--contrast", choices=tuple(CONTRASTS), help="the image is such an MRI")
    what.add_argument("--ct", action="store_true", help="the image is a CT in Hounsfield units")
    what.add_argument(
        "--labels", metavar="NAMES", help="the image holds labels; see `us-recon acoustics`"
    )
    group.add_argument("--lesion", type=Path, help="mask of a lesion on the MRI's grid, 0 to 1")
    add_settings(parser, MriMapSettings, "from an MRI")


def read_patient(parsed: argparse.Namespace) -> tuple[AcousticVolume, Volume | None]:
    """Return the acoustic properties, and the image they were made from where there is one.

    Raises:
        ConfigError: It is not said what the image is.
        InputError: The image cannot be read, or is not what was said.
    """
    kinds = parsed.contrast is not None or parsed.ct or parsed.labels is not None
    if parsed.acoustics is not None:
        if kinds:
            raise ConfigError("--contrast, --ct and --labels say what --mri is; not --acoustics")
        return read_acoustic_volume(parsed.acoustics), None
    if not kinds:
        raise ConfigError(
            f"{parsed.mri}: what is it? Give --contrast {', '.join(CONTRASTS)}, --ct or --labels"
        )
    if parsed.lesion is not None and parsed.contrast is None:
        raise ConfigError("--lesion needs an MRI, --contrast t1, t2 or flair")
    image = read_volume(parsed.mri)
    return made_from(image, parsed), image
