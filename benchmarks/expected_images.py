"""How real are expected images? A patient nobody here made (RESECT, case 24), frame by frame.

python -m benchmarks.expected_images [--fast] [--pictures FOLDER]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64
from scipy.spatial.transform import Rotation
from torch import Tensor

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, of, write_cases
from benchmarks.resect24 import Patient, patient
from benchmarks.tables import write_table
from us_recon.acoustics.channels import echo_levels
from us_recon.acoustics.mri_map import acoustic_volume_from_mri
from us_recon.acoustics.renderer import Rendering, render
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.evaluation.registration_figure import panel_figure
from us_recon.geometry.rigid import Matrix4, invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.scan_conversion import to_image
from us_recon.imaging.volume import Volume
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.channels import GRADIENT, INSIDE, INTENSITY, MriChannels, make_channels
from us_recon.registration.observation import BeamWindow, observe
from us_recon.registration.settings import RegistrationSettings
from us_recon.simulation.cell import make_cell

RANDOM_POSES, FAST_POSES = 50, 15
REACH_MM, REACH_DEG = 20.0, 15.0
SEED = 24
SAMPLES_PER_CELL = 3
DAMPING = 0.05  # of the channels' median variance over patches
LEAST_CELLS = 100
MODES = {
    "primary": RenderSettings(),
    "coupled": RenderSettings(echoes="coupled"),
    "published": RenderSettings(echoes="coupled", convention="published"),
}
# Each explains a patch by a linear combination of its channels and a constant.
EXPLANATIONS = {
    "MRI slice": ("intensity",),
    "LC2: slice and its gradient": ("intensity", "gradient"),
    "expected brightness, primary": ("brightness primary",),
    "expected brightness, coupled": ("brightness coupled",),
    "expected brightness, published": ("brightness published",),
    "edges and backscatter, primary": ("edges primary", "scatter primary"),
    "edges and backscatter, coupled": ("edges coupled", "scatter coupled"),
    "edges and backscatter, published": ("edges published", "scatter published"),
    "LC2 with backscatter, primary": ("intensity", "gradient", "scatter primary"),
    "LC2 with edges and backscatter, primary": (
        "intensity", "gradient", "edges primary", "scatter primary",
    ),
    "LC2 with edges and backscatter, coupled": (
        "intensity", "gradient", "edges coupled", "scatter coupled",
    ),
}  # fmt: skip

NOTE = """
Frames cut out of the compounded ultrasound of RESECT's case 24, each alone ({frames} of them), at
the landmarks' rigid pose and at {poses} random poses: shifts evenly from a ball of {mm:g} mm, turns
up to {deg:g} degrees, about the middle of the image (seed {seed}). The grid, blur, mask and patches
are the registration's defaults (1 mm, 5 x 5 cells), and so is the removal of time gain, which is
told from tissue by all frames together. The tissue map and the renderer know nothing of this
patient but its MRI; that the map missed sulci was seen on this patient, though, and its rules for
them take their sizes from anatomy.

`explained`: share of the local variance of the whole frame that fits in patches explain, at the
landmarks' pose (what lies outside the MRI is not explained); `random`: mean over the random poses.
`correlation`: of the first channel with the image over the whole frame, at the landmarks' pose.
`first`: in how many frames the landmarks' pose explains more than all random poses; `rank`: how
many random poses explain more, mean over frames. `first by correlation`: the same for the
correlation.

The landmarks' pose is not the truth: the landmarks themselves fit with 0.83 mm, and each frame
shows 2-D alone. A fit with more channels explains more everywhere; what counts is the rank.
"""


@dataclass(frozen=True, eq=False)
class Sources:
    """What an MRI gives to explain images with.

    Attributes:
        channels: Intensity and gradient magnitude.
        tissue: The acoustic volume.
    """

    channels: MriChannels
    tissue: AcousticVolume


def main(arguments: Sequence[str] | None = None) -> None:
    """Rank the landmarks' pose among random ones in every frame, and write the tables."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    one = patient()
    frames = list(enumerate(one.frames))[:: 10 if run.fast else 1]
    poses = FAST_POSES if run.fast else RANDOM_POSES
    cases: list[Case] = []
    for mri in ("FLAIR", "T1"):
        for number, frame in frames:
            cases += ranked(one, mri, number, frame, poses)
            print(mri, number, flush=True)
    write_cases("expected_images", cases, run.results)
    rows = [
        row(mri, name, of(cases, MRI=mri, explained_by=name))
        for mri in ("FLAIR", "T1")
        for name in EXPLANATIONS
    ]
    note = NOTE.format(
        frames=len(frames), poses=poses, mm=REACH_MM, deg=REACH_DEG, seed=SEED
    )  # fmt: skip
    write_table("expected_images", rows, note, run.results)
    if run.pictures is not None:
        run.pictures.mkdir(parents=True, exist_ok=True)
        draw_patient(run.pictures / "expected_patient.png", one)
        draw_probes(run.pictures / "expected_probes.png")


@lru_cache(maxsize=2)
def sources(mri: str) -> Sources:
    """Prepare an MRI, once."""
    volume = patient().mris[mri]
    tissue = acoustic_volume_from_mri(volume, mri.lower())
    return Sources(make_channels(volume, RegistrationSettings()), tissue)


def ranked(
    one: Patient, mri: str, number: int, frame: TrackedFrame, random_poses: int
) -> list[Case]:
    """Return the scores and ranks of a frame."""
    settings = RegistrationSettings()
    window = one_frame(whole_window(), number)
    measured, valid = window.values[0], window.valid[0]
    T_mri_world = invert_rigid(one.T_landmarks)
    centre = transform_points(T_mri_world, window.centre_world_mm)
    rng = np.random.default_rng([SEED, number])
    poses = [np.eye(4), *(random_pose(rng, centre) for _ in range(random_poses))]
    T = np.stack([pose @ T_mri_world @ frame.T_world_transducer for pose in poses])
    explained = {name: np.full(len(T), -1.0) for name in EXPLANATIONS}
    correlation = {name: np.full(len(T), -1.0) for name in EXPLANATIONS}
    for index, channels, inside in looked_up(sources(mri), T, window.geometry):
        weight = valid * inside
        if weight.sum() < LEAST_CELLS:
            continue  # the image lies outside: no candidate
        for name, wanted in EXPLANATIONS.items():
            chosen = torch.stack([channels[channel] for channel in wanted])
            explained[name][index] = explained_share(
                measured, valid, inside, chosen, settings.patch_samples
            )
            correlation[name][index] = correlated(measured, weight, chosen[0])
    return [
        {
            "MRI": mri,
            "frame": number,
            "explained_by": name,
            "explained": explained[name][0],
            "random": explained[name][1:].mean(),
            "rank": int((explained[name][1:] >= explained[name][0]).sum()),
            "correlation": correlation[name][0],
            "rank by correlation": int((correlation[name][1:] >= correlation[name][0]).sum()),
        }
        for name in EXPLANATIONS
    ]


@lru_cache(maxsize=1)
def whole_window() -> BeamWindow:
    """Observe all frames together: only so can the scanner's time gain be told from tissue."""
    return observe(patient().frames, RegistrationSettings())


def one_frame(window: BeamWindow, number: int) -> BeamWindow:
    """Return a frame of a window."""
    at = slice(number, number + 1)
    points, valid = window.points_world_mm[at], window.valid[at]
    return replace(
        window,
        points_world_mm=points,
        values=window.values[at],
        valid=valid,
        centre_world_mm=points[valid > 0].double().mean(dim=0).numpy(),
    )


def random_pose(rng: np.random.Generator, centre_mm: Float64[np.ndarray, "3"]) -> Matrix4:
    """Return a random displacement about a point, evenly from a ball."""
    shift, axis = rng.normal(size=(2, 3))
    shift *= REACH_MM * rng.uniform() ** (1.0 / 3.0) / np.linalg.norm(shift)
    axis *= np.radians(rng.uniform(0.0, REACH_DEG)) / np.linalg.norm(axis)
    about = make_rigid(np.eye(3), centre_mm)
    return about @ make_rigid(Rotation.from_rotvec(axis).as_matrix(), shift) @ invert_rigid(about)


def looked_up(
    source: Sources, T_mri_transducer: Float64[np.ndarray, "n 4 4"], geometry: ProbeGeometry
) -> list[tuple[int, dict[str, Tensor], Tensor]]:
    """Return all channels of every pose on the beams of a geometry, and where the MRI is."""
    fine = replace(
        geometry, sample_count=(geometry.sample_count - 1) * SAMPLES_PER_CELL + 1
    )  # so that every third sample is a cell's
    poses = torch.from_numpy(T_mri_transducer.astype(np.float32))
    rendered = {}
    with torch.no_grad():
        for mode, settings in MODES.items():
            rendered[mode] = render(source.tissue, poses, fine, settings)
    plane = np.pad(geometry.beam_points_mm, ((0, 0), (0, 0), (0, 1))).reshape(-1, 3)
    points = torch.from_numpy(plane.astype(np.float32))
    found = []
    for index, T in enumerate(T_mri_transducer):
        mri = source.channels.sample_fast(points, T).reshape(
            3, geometry.beam_count, geometry.sample_count
        )
        channels = {"intensity": mri[INTENSITY], "gradient": mri[GRADIENT]}
        for mode, settings in MODES.items():
            channels |= echo_channels(rendered[mode], index, mode, settings)
        found.append((index, channels, mri[INSIDE]))
    return found


def echo_channels(
    rendering: Rendering, index: int, mode: str, settings: RenderSettings
) -> dict[str, Tensor]:
    """Return what the renderer says at one pose."""
    fields = {name: getattr(rendering, name)[index : index + 1] for name in vars(rendering)}
    single = Rendering(**fields)
    edges, scatter = echo_levels(single, settings.edge_db, settings.scatter_db, SAMPLES_PER_CELL)
    return {
        f"brightness {mode}": single.brightness[0, :, ::SAMPLES_PER_CELL],
        f"edges {mode}": edges[0],
        f"scatter {mode}": scatter[0],
    }


def explained_share(
    measured: Tensor, valid: Tensor, inside: Tensor, channels: Tensor, size: int
) -> float:
    """Return the share of the local variance that local fits explain (LC2 with any channels).

    Patches count by 1 / (variance + median variance), and by how full they are from half on. Of
    patches outside the MRI nothing is explained, and they count all the same.
    """
    # In double precision: a channel that is even over a patch must not explain by rounding errors.
    measured, valid, channels = measured.double(), valid.double(), channels.double()
    weight, count = valid * inside, len(channels)

    def pool(images: Tensor) -> Tensor:
        return F.avg_pool2d(images[None], size, 1)[0]

    def mean(images: Tensor) -> Tensor:
        return pool(weight * images) / filling.clamp(min=0.02)

    filling = pool(weight[None])[0]
    mu, means = mean(measured[None])[0], mean(channels)
    products = mean((channels[:, None] * channels[None]).flatten(0, 1)).unflatten(0, (count, count))
    spread = (products - means[:, None] * means[None]).permute(2, 3, 0, 1)
    common = (mean(channels * measured) - means * mu).permute(1, 2, 0)
    full = filling > 0.5
    damping = DAMPING * torch.diagonal(spread, dim1=-2, dim2=-1)[full].median(dim=0).values
    solved = torch.linalg.solve(spread + torch.diag(damping + 1e-9), common[..., None])[..., 0]
    explained = gate(filling) * (solved * common).sum(dim=-1)
    shown = pool(valid[None])[0]
    moments = pool(torch.stack([valid * measured, valid * measured**2])) / shown.clamp(min=0.02)
    variance = moments[1] - moments[0] ** 2
    counts = 1.0 / (variance + variance[shown > 0.5].median())
    return ((counts * explained).sum() / (counts * gate(shown) * variance).sum()).item()


def gate(filling: Tensor) -> Tensor:
    """Return the weight of patches by how full they are."""
    return ((filling - 0.5) / 0.5).clamp(0.0, 1.0)


def correlated(measured: Tensor, weight: Tensor, channel: Tensor) -> float:
    """Return the correlation over the whole frame."""
    total = weight.sum()
    a = measured - (weight * measured).sum() / total
    b = channel - (weight * channel).sum() / total
    power = (weight * a * a).sum() * (weight * b * b).sum()
    return ((weight * a * b).sum() / power.sqrt().clamp(min=1e-9)).item()


def row(mri: str, name: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return the figures of one explanation over all frames."""
    rank, by_correlation = column(cases, "rank"), column(cases, "rank by correlation")
    return {
        "MRI": mri,
        "explained by": name,
        "first": f"{np.mean(rank == 0):.0%}",
        "rank": float(rank.mean()),
        "explained": float(column(cases, "explained").mean()),
        "random": float(column(cases, "random").mean()),
        "correlation": float(column(cases, "correlation").mean()),
        "first by correlation": f"{np.mean(by_correlation == 0):.0%}",
    }


# --- Picture --------------------------------------------------------------------------------------


def draw_patient(path: Path, one: Patient) -> None:
    """Write measured, MRI, and what each mode expects, of two frames and both MRIs."""
    rows = []
    for mri in ("FLAIR", "T1"):
        for number in (5, 15):
            frame = one.frames[number]
            T = invert_rigid(one.T_landmarks) @ frame.T_world_transducer
            brighter = replace(frame, image=cv2.convertScaleAbs(frame.image, alpha=2.0))
            rows.append(panels(mri, one.mris[mri], sources(mri).tissue, brighter, T))
    cv2.imwrite(str(path), panel_figure(rows)[..., 0])  # all grey


def draw_probes(path: Path) -> None:
    """Write the same for the probes of the virtual scanner, which shares no model with it."""
    rows = []
    for probe in ("linear", "convex", "phased"):
        cell = make_cell("brain", probe, 3, patient={"lesion": "solid"})
        frame = next(islice(cell.tracked_frames(), cell.image_count // 2, None))
        T = invert_rigid(cell.T_world_mri) @ frame.T_world_transducer
        tissue = acoustic_volume_from_mri(cell.mri, "t1")
        images = panels("T1", cell.mri, tissue, frame, T)
        rows.append([(title, squared(image)) for title, image in images])
    cv2.imwrite(str(path), panel_figure(rows)[..., 0])  # all grey


def squared(image: np.ndarray, size_px: int = 260) -> np.ndarray:
    """Return a picture scaled to fit into a square."""
    scale = size_px / max(image.shape)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    square = np.zeros((size_px, size_px), np.uint8)
    top, left = ((size_px - extent) // 2 for extent in small.shape)
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


def panels(
    name: str, mri: Volume, tissue: AcousticVolume, frame: TrackedFrame, T_mri_transducer: Matrix4
) -> list[tuple[str, np.ndarray]]:
    """Return the pictures of one frame."""
    probe = replace(frame.geometry, beam_count=192, sample_count=512)
    plane = np.pad(probe.beam_points_mm, ((0, 0), (0, 0), (0, 1)))
    grey = mri.sample(transform_points(T_mri_transducer, plane), fill=0.0)
    found = [
        ("measured", frame.image),
        (name, as_picture(grey / np.percentile(grey, 99.0), probe)),
    ]
    pose = torch.from_numpy(T_mri_transducer.astype(np.float32))
    for title, settings in (
        ("expected, primary", MODES["primary"]),
        ("with speckle", replace(MODES["primary"], speckle=True)),
        ("coupled", replace(MODES["coupled"], gain_db=5.0)),
        ("published", replace(MODES["published"], gain_db=5.0)),
    ):
        with torch.no_grad():
            image = render(tissue, pose, probe, settings)
        found.append((title, as_picture((image.brightness * image.inside)[0].numpy(), probe)))
    return found


def as_picture(beams: np.ndarray, probe: ProbeGeometry) -> np.ndarray:
    """Return brightness of 0 to 1 in beam space as a picture."""
    return np.rint(255.0 * np.clip(to_image(beams, probe), 0.0, 1.0)).astype(np.uint8)


if __name__ == "__main__":
    main()
