"""`us-recon register`: an MRI registered to a bag, without ROS and deterministically."""

import argparse
import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from us_recon.cli.options import add_settings, given_settings, settings_from
from us_recon.cli.transforms import INITIAL_KEY, parse_initial
from us_recon.errors import ConfigError, InputError
from us_recon.evaluation.registration_figure import overlay, panel_figure
from us_recon.files import atomic_path
from us_recon.geometry.rigid import Matrix4
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.bag import TopicNames, frames_from_bag, require_frames
from us_recon.io.landmarks import read_tag_pairs
from us_recon.io.volumes import read_volume, write_volume
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.pipeline.configuration import load_settings
from us_recon.pipeline.node_settings import (
    ConsumerSettings,
    RegistrationNodeSettings,
    SourceSettings,
)
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.deformation import DeformationSettings, Deformed, deform
from us_recon.registration.landmarks import fit_rigid
from us_recon.registration.patient_images import patient_images
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.surface_start import SurfaceSettings, align_surfaces
from us_recon.settings import overridden

NODE = "mri_registration"
RESULT_FILE, PICTURE_FILE = "registration.json", "registration.png"
DEFORMED_FILE = "mri_deformed.nii.gz"
NOT_TRUSTED = 1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "register",
        help="register an MRI to a bag offline with the object that the node runs",
        description="Returns 0 where the result is trusted and 1 where it is not.",
    )
    parser.add_argument("bag", type=Path, help="folder of the bag")
    parser.add_argument("--mri", type=Path, required=True, help="NIfTI, .mha or .nrrd")
    parser.add_argument(
        "--second-mri", type=Path, help="another MRI that lies on the first, as FLAIR on T1"
    )
    parser.add_argument(
        "--mri-contrast",
        choices=("t1", "t2", "flair", "ct"),
        help="what the first is: with it, the images are explained by the MRI's tissue too",
    )
    guess = parser.add_mutually_exclusive_group(required=True)
    guess.add_argument(
        "--landmarks",
        type=Path,
        help="first guess from pairs of points: an MNI tag file (.tag) with points of the MRI (mm, "
        "RAS+) and of the world",
    )
    guess.add_argument(
        "--initial",
        help="first guess of T_world_mri: x,y,z,rx,ry,rz in mm and degrees about the fixed axes x, "
        f"y, z (write --initial=-1,...), or a JSON file with a 4x4 matrix under {INITIAL_KEY!r} or "
        "FILE:KEY",
    )
    parser.add_argument(
        "--surface",
        type=Path,
        help="mapped mesh of a bone (mm, world), such as `us-recon replay` writes: aligned with "
        "--mri-surface, it improves the first guess",
    )
    parser.add_argument(
        "--mri-surface", type=Path, help="the same bone segmented in the MRI or CT (.stl, .ply)"
    )
    parser.add_argument(
        "--deform",
        action="store_true",
        help="also deform the registered MRI smoothly to what was imaged (brain shift); where "
        f"images that took no part agree, the folder gets {DEFORMED_FILE}, on the MRI's own voxels",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help=f"folder that gets {RESULT_FILE}, {PICTURE_FILE}"
    )
    parser.add_argument(
        "--config", type=Path, help="parameter file of the nodes (see `us-recon parameters`)"
    )
    add_settings(parser, RegistrationSettings, "registration")
    add_settings(parser, SurfaceSettings, "surfaces")
    add_settings(parser, DeformationSettings, "deformation")
    add_settings(parser, AssemblerSettings, "how images find their poses")
    add_settings(parser, TopicNames, "topics")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Register and write what came of it."""
    use_one_thread()
    console = Console()
    if (parsed.surface is None) != (parsed.mri_surface is None):
        raise ConfigError("--surface and --mri-surface belong together; give both or neither")
    settings, assembler_settings, node, surface_settings, *_ = load_settings(
        parsed.config,
        NODE,
        RegistrationSettings,
        AssemblerSettings,
        RegistrationNodeSettings,
        SurfaceSettings,
        SourceSettings,
        ConsumerSettings,
    )
    settings = overridden(settings, given_settings(parsed, RegistrationSettings))
    assembler = FrameAssembler(
        overridden(assembler_settings, given_settings(parsed, AssemblerSettings))
    )
    if parsed.landmarks is not None:
        initial = fit_rigid(*read_tag_pairs(parsed.landmarks))
    else:
        initial = parse_initial(parsed.initial)
    if parsed.surface is not None:
        surface_settings = overridden(surface_settings, given_settings(parsed, SurfaceSettings))
        initial = _aligned(parsed, initial, surface_settings, console)
    files = filter(None, (parsed.mri, parsed.second_mri or node.second_mri_file))
    images = patient_images(
        [read_volume(Path(file)) for file in files], parsed.mri_contrast or node.mri_contrast
    )
    registration = MriRegistration(images, settings)
    registration.set_initial(initial)
    frames = frames_from_bag(
        parsed.bag, topics=settings_from(parsed, TopicNames), assembler=assembler
    )
    since_attempt = 0
    for frame in track(frames, description="registering", console=console):
        registration.add_frame(frame)
        since_attempt += 1
        if since_attempt == node.register_every_frames:
            since_attempt = 0
            registration.step()
    require_frames(parsed.bag, assembler)
    update = registration.finish()
    if update is None:
        raise InputError(
            f"{parsed.bag}: {len(registration.window.frames)} different poses among "
            f"{assembler.frames_assembled} frames; expected {settings.min_frames} or more"
            + "".join(f"; {line}" for line in assembler.told_drops())
        )
    deformed = None
    if parsed.deform and update.trusted:
        deformed = deform(
            registration.window.frames,
            registration.channels,
            update.T_world_mri,
            settings,
            settings_from(parsed, DeformationSettings),
        )
    _write(parsed.out, registration, update, assembler, initial, deformed)
    if parsed.deform:
        (parsed.out / DEFORMED_FILE).unlink(missing_ok=True)  # one of an earlier run would mislead
    if deformed is not None and deformed.believed:
        write_volume(parsed.out / DEFORMED_FILE, deformed.deformation.applied(images.first))
    _report(console, update, assembler, parsed.out)
    if parsed.deform:
        _report_deformation(console, deformed, parsed.out)
    return 0 if update.trusted else NOT_TRUSTED


def _aligned(
    parsed: argparse.Namespace, guess: Matrix4, settings: SurfaceSettings, console: Console
) -> Matrix4:
    """Return the guess, improved by the surfaces."""
    model = read_mesh(parsed.mri_surface)
    mapped_mm = read_mesh(parsed.surface).vertices_mm
    found = align_surfaces(mapped_mm, model.vertices_mm, model.triangles, guess, settings)
    console.print(f"surfaces aligned, {found.residual_mm:.2f} mm apart (RMS)", highlight=False)
    return found.T_world_mri


def _write(
    out: Path,
    registration: MriRegistration,
    update: RegistrationUpdate,
    assembler: FrameAssembler,
    initial: Matrix4,
    deformed: Deformed | None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"unit": "mm; p_world = T_world_mri @ p_mri, row-major 4x4"}
    values |= {name: _plain(value) for name, value in asdict(update).items()}
    values |= {"images": assembler.images_received, "dropped": dict(assembler.drops)}
    if deformed is not None:
        values["deformation"] = {
            name: _plain(value) for name, value in asdict(deformed.deformation).items()
        } | {
            "rigid_score": deformed.rigid_score,
            "score": deformed.score,
            "gain_elsewhere": deformed.gain_elsewhere,
            "believed": deformed.believed,
        }
    with atomic_path(out / RESULT_FILE) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n")
    frame = registration.window.frames[len(registration.window.frames) // 2]
    picture = before_and_after(registration, frame, initial, update.T_world_mri)
    with atomic_path(out / PICTURE_FILE) as partial:
        cv2.imwrite(str(partial), picture[..., ::-1])


def before_and_after(
    registration: MriRegistration, frame: TrackedFrame, T_before: Matrix4, T_after: Matrix4
) -> Any:
    """Return the measured image beside the expected ones (RGB)."""
    rows = []
    for when, T in (("before", T_before), ("after", T_after)):
        expected = registration.expected_image(frame, T)
        rows.append(
            [
                ("measured", frame.image),
                (f"expected, {when}", expected),
                ("both", overlay(frame.image, expected)),
            ]
        )
    return panel_figure(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _report(
    console: Console, update: RegistrationUpdate, assembler: FrameAssembler, out: Path
) -> None:
    console.print(
        f"{assembler.frames_assembled} of {assembler.images_received} images used, "
        f"{update.frames} of them registered together"
    )
    for line in assembler.told_drops():
        console.print(f"  {line}", markup=False)
    verdict = "trusted" if update.trusted else "not trusted"
    console.print(f"{verdict}: {update.message}", markup=False, soft_wrap=True)
    console.print(f"{out / RESULT_FILE}, {out / PICTURE_FILE}", markup=False, soft_wrap=True)


def _report_deformation(console: Console, deformed: Deformed | None, out: Path) -> None:
    if deformed is None:
        console.print("not deformed: the registration is not trusted")
        return
    largest_mm = float(np.linalg.norm(deformed.deformation.displacement_mm, axis=1).max(initial=0))
    gain = f"{deformed.gain_elsewhere:+.3f} in score for images that took no part"
    if deformed.believed:
        console.print(f"deformed by up to {largest_mm:.1f} mm, {gain}: {out / DEFORMED_FILE}",
                      markup=False, soft_wrap=True)  # fmt: skip
    else:
        console.print(f"not deformed: the images show no deformation, {gain}", markup=False)
