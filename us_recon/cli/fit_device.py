"""`us-recon fit-device`: the renderer's settings for the scanner that made a bag."""

import argparse
from pathlib import Path

from rich.console import Console

from us_recon.acoustics.device_fit import Agreement, DeviceFit, fit_device
from us_recon.acoustics.fit_settings import DeviceFitSettings
from us_recon.acoustics.settings import RenderSettings
from us_recon.cli.options import add_settings, given_settings, settings_from
from us_recon.cli.patients import add_patient, read_patient
from us_recon.cli.transforms import INITIAL_KEY, parse_initial
from us_recon.errors import InputError
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.io.bag import TopicNames, frames_from_bag, require_frames
from us_recon.io.device_files import read_device, write_device
from us_recon.pipeline.threads import use_one_thread
from us_recon.settings import overridden


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "fit-device",
        help="estimate gain, time gain and resolution of a scanner from a bag",
        description="Writes settings that `us-recon render --config` and the registration node "
        "read. The renderer's options say where the fit starts and what it leaves alone: give the "
        "dynamic range that the console shows.",
    )
    parser.add_argument("bag", type=Path, help="folder of the bag")
    add_patient(parser)
    parser.add_argument(
        "--T-world-mri",
        dest="T_world_mri",
        required=True,
        help="pose of the MRI in the world: x,y,z,rx,ry,rz in mm and degrees about the fixed axes "
        f"x, y, z (write --T-world-mri=-1,...), or a JSON file with a 4x4 matrix under "
        f"{INITIAL_KEY!r} or FILE:KEY, such as the result of `us-recon register`",
    )
    parser.add_argument("--out", type=Path, required=True, help="device file, .json")
    parser.add_argument("--config", type=Path, help="device file to start from")
    add_settings(parser, DeviceFitSettings, "fit")
    add_settings(parser, RenderSettings, "renderer")
    add_settings(parser, AssemblerSettings, "how images find their poses")
    add_settings(parser, TopicNames, "topics")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Fit and write."""
    use_one_thread()
    if parsed.out.suffix.lower() != ".json":
        raise InputError(f"{parsed.out}: device files are written as .json")
    T_world_mri = parse_initial(parsed.T_world_mri, "--T-world-mri")
    start = read_device(parsed.config) if parsed.config else RenderSettings()
    start = overridden(start, given_settings(parsed, RenderSettings))
    fit_settings = settings_from(parsed, DeviceFitSettings)
    assembler = FrameAssembler(settings_from(parsed, AssemblerSettings))
    topics = settings_from(parsed, TopicNames)
    frames = list(frames_from_bag(parsed.bag, topics=topics, assembler=assembler))
    require_frames(parsed.bag, assembler)
    volume, _ = read_patient(parsed)
    found = fit_device(frames, volume, T_world_mri, start, fit_settings)
    write_device(parsed.out, found.settings)
    _report(parsed.out, found)
    return 0


def _report(out: Path, found: DeviceFit) -> None:
    console, settings = Console(), found.settings
    lines = [
        f"{out}: fitted on {found.frames} frames, {found.after.cells} cells",
        f"  gain {settings.gain_db:.1f} dB, time gain {settings.tgc_db_cm:.2f} dB/cm, sliders "
        + " ".join(f"{each:+.1f}" for each in settings.tgc_sliders_db),
        f"  attenuation x {settings.attenuation_scale:.2f}, edges {settings.edge_db:.1f} dB, noise "
        f"{settings.noise_db:.1f} dB",
        f"  pulse {settings.pulse_mm:.2f} mm, beam {settings.beam_mm:.2f} mm at "
        f"{settings.focus_mm:.0f} mm, wider beyond {settings.spread_mm:.0f} mm"
        + ("" if found.resolution_found else " (as given: no speckle tells them)"),
        f"  before: {_agreement(found.before)}",
        f"  after:  {_agreement(found.after)}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _agreement(each: Agreement) -> str:
    return (
        f"correlation {each.correlation:.3f}, difference of brightness {each.difference:.3f} "
        f"(offset {each.offset:+.3f})"
    )
