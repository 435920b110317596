"""`us-recon render`: the ultrasound image to expect at a pose, as a PNG."""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8
from rich.console import Console

from us_recon.acoustics.expected_image import ExpectedImage, as_image, expected_image
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.cli.options import add_settings, given_settings
from us_recon.cli.patients import add_patient, read_patient
from us_recon.cli.transforms import parse_initial
from us_recon.errors import InputError
from us_recon.evaluation.registration_figure import panel_figure
from us_recon.files import atomic_path
from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.volume import Volume
from us_recon.io.device_files import read_device
from us_recon.io.probe_files import read_probe
from us_recon.pipeline.threads import use_one_thread
from us_recon.settings import overridden
from us_recon.simulation.catalogue import PATIENTS, patient_kind

POSE_KEY = "T_volume_transducer"
PROBES_OF = "brain"
FAINTEST_DB = -60.0  # of the panels of echoes, below the brightest
BRIGHTEST_PERCENT, DARKEST_PERCENT = 99.5, 0.5


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "render", help="draw the ultrasound image to expect at a pose, from an MRI, a CT or labels"
    )
    add_patient(parser)
    parser.add_argument(
        "--probe",
        required=True,
        help=f"a virtual probe ({', '.join(ProbeKind)}: those of the virtual brain; SCENE:KIND "
        "takes another patient's, as in liver:convex), a JSON file with the fields of "
        "ProbeGeometry, or a bag",
    )
    parser.add_argument(
        "--pose",
        required=True,
        help=f"{POSE_KEY}: x,y,z,rx,ry,rz of the array in the volume's mm, in degrees about the "
        "fixed axes x, y, z (write --pose=-1,...), or a JSON file with a 4x4 matrix under "
        f"{POSE_KEY!r} or FILE:KEY",
    )
    parser.add_argument("--out", type=Path, required=True, help="the picture, .png")
    parser.add_argument(
        "--panels",
        action="store_true",
        help="draw beside it: edges, backscatter, transmission and the slice of the image",
    )
    parser.add_argument("--config", type=Path, help="device file, as `us-recon fit-device` writes")
    add_settings(parser, RenderSettings, "renderer")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Render and write."""
    use_one_thread()
    if parsed.out.suffix.lower() != ".png":
        raise InputError(f"{parsed.out}: pictures are written as .png")
    probe = named_probe(parsed.probe)
    T_volume_transducer = parse_initial(parsed.pose, "--pose", POSE_KEY)
    settings = read_device(parsed.config) if parsed.config else RenderSettings()
    settings = overridden(settings, given_settings(parsed, RenderSettings))
    acoustic, image = read_patient(parsed)
    expected = expected_image(acoustic, T_volume_transducer, probe, settings)
    check_pose(expected, acoustic, T_volume_transducer, probe)
    picture: Any = expected.image
    if parsed.panels:
        slice_of = None if image is None else image_slice(image, T_volume_transducer, probe)
        picture = panel_figure([panels(expected, slice_of, probe)])[..., ::-1]
    with atomic_path(parsed.out) as partial:
        cv2.imwrite(str(partial), picture)
    Console().print(
        f"{parsed.out}: {expected.share_inside:.1%} of the image inside the volume"
        + ("" if expected.share_inside > 0.999 else "; the rest is black"),
        highlight=False,
        soft_wrap=True,
    )
    return 0


def named_probe(name: str) -> ProbeGeometry:
    """Return a virtual probe, or one from a JSON file or a bag.

    Raises:
        InputError: There is none of that name, or the file is no probe.
    """
    scene, _, kind = name.rpartition(":")
    if kind in tuple(ProbeKind) and (not scene or scene in PATIENTS):
        return patient_kind(scene or PROBES_OF).probe(ProbeKind(kind)).geometry
    if not Path(name).exists():
        raise InputError(
            f"--probe is {name!r}; expected {', '.join(ProbeKind)}, SCENE:KIND with one of the "
            f"scenes {', '.join(PATIENTS)}, or the path of a JSON file or of a bag"
        )
    return read_probe(Path(name))


def check_pose(
    expected: ExpectedImage,
    acoustic: AcousticVolume,
    T_volume_transducer: Float64[np.ndarray, "4 4"],
    probe: ProbeGeometry,
) -> None:
    """Refuse a pose from which nothing of the volume is seen.

    Raises:
        InputError: No pixel shows known tissue.
    """
    if expected.known.any():
        return
    known = np.argwhere(acoustic.inside.cpu().numpy() > 0.5)
    if not len(known):
        raise InputError("the acoustic volume holds no known tissue; expected a patient")
    known_mm = transform_points(acoustic.T_space_index, known.astype(np.float64))
    low, high = known_mm.min(axis=0), known_mm.max(axis=0)
    middle = np.array([0.0, probe.depth_mm / 2.0, 0.0])
    at = transform_points(T_volume_transducer, middle)
    raise InputError(
        "--pose looks past the patient: no pixel shows known tissue. The middle of the image lies "
        f"at {_mm(at)} mm; what is known spans {_mm(low)} to {_mm(high)} mm. Expected "
        f"{POSE_KEY}, in the volume's millimetres (RAS+), with y away from the array"
    )


def panels(
    expected: ExpectedImage,
    slice_of: UInt8[np.ndarray, "rows columns"] | None,
    probe: ProbeGeometry,
) -> list[tuple[str, UInt8[np.ndarray, "rows columns"]]]:
    """Return the expected image and what it is made of, grey, under their titles."""
    made = expected.rendering
    found = [
        ("expected", expected.image),
        ("edges", in_db(as_image(made.edges[0].abs(), probe), expected)),
        ("backscatter", in_db(as_image(made.scatter[0], probe), expected)),
        ("transmission", in_db(as_image(made.transmission[0], probe), expected)),
    ]
    return found if slice_of is None else [*found, ("image", slice_of)]


def in_db(
    amplitude: Float32[np.ndarray, "rows columns"], expected: ExpectedImage
) -> UInt8[np.ndarray, "rows columns"]:
    """Return amplitudes as grey, from the brightest down to `FAINTEST_DB`; black if unknown."""
    known = amplitude[expected.known]
    top = max(float(np.percentile(known, BRIGHTEST_PERCENT)), 1e-12)
    level_db = 20.0 * np.log10(np.maximum(amplitude / top, 1e-12))
    grey = np.clip(1.0 - level_db / FAINTEST_DB, 0.0, 1.0)
    return np.where(expected.known, np.rint(255.0 * grey), 0.0).astype(np.uint8)


def image_slice(
    image: Volume, T_volume_transducer: Float64[np.ndarray, "4 4"], probe: ProbeGeometry
) -> UInt8[np.ndarray, "rows columns"]:
    """Return the image in the plane of the probe, inside the sector, as grey."""
    plane = np.pad(probe.pixels_to_mm(probe.pixel_grid), ((0, 0), (0, 0), (0, 1)))
    values = image.sample(transform_points(T_volume_transducer, plane))
    shown = np.isfinite(values) & probe.fan_mask
    low, high = np.percentile(values[shown], [DARKEST_PERCENT, BRIGHTEST_PERCENT])
    grey = 255.0 * np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0)
    return np.where(shown, np.rint(grey), 0.0).astype(np.uint8)


def _mm(point: Float64[np.ndarray, "3"]) -> str:
    return ", ".join(f"{each:.0f}" for each in point)
