"""What a smooth deformation of the MRI gains where the brain has shifted since it was taken.

python -m benchmarks.brain_shift [--fast] [--dev]
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import map_coordinates

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, median, of, share, write_cases
from benchmarks.registration_methods import prepared
from benchmarks.resect24 import BOTH, images, patient
from benchmarks.sets import BRAIN_REG, RegistrationCase
from benchmarks.tables import data_dir, write_table
from us_recon.geometry.rigid import Matrix4, invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.deformation import DeformationSettings, Deformed, deform
from us_recon.registration.objective import make_objective
from us_recon.registration.observation import observe
from us_recon.registration.patient_images import PatientImages, patient_images
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import refine

PATIENTS = 8
SHIFTS_MM = (0.0, 2.5, 5.0, 10.0)
REACH_MM = 30.0
FAST_PATIENTS = 1
REAL = "RESECT case 24, "

NOTE = """
The first {patients} brains of the set {name} ({first} to {last}), scanned by one fan sweep. The MRI
is of before: its brain sinks by the shift given under the craniotomy, most of it away from the
probe and the rest in a random direction, and less with the distance from there (a Gaussian of
{reach:g} mm). `shifted`: how far that moves the targets in the imaged region, mean. The MRI is
registered from its true pose (the search is `brain_reg`'s matter): `rigid` is the error of the
targets then, `deformed` with the field that `us-recon register --deform` fits, whether believed or
not, `used` with it where it is believed. `believed`: how often images that took no part agreed.
`worst`: the largest loss by using it. RESECT: one real patient before resection, from the
landmarks' pose, mean distance of 16 landmarks; their own rigid fit leaves {floor}.
Control points, prior and the bar of belief were chosen on development seeds. CPU: one thread.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Deform all patients and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(BRAIN_REG, FAST_PATIENTS)[:PATIENTS]
    real = (data_dir() / "resect_case24").is_dir()
    cases: list[Case] = []
    for patient_cases in (*map(simulated, seeds), *([of_the_real_patient()] if real else [])):
        for case in patient_cases:
            cases.append(case)
            print(case, flush=True)
    write_cases("brain_shift", cases, run.results)
    names = list(dict.fromkeys(str(case["patient"]) for case in cases))
    floor = f"{patient().error_mm(patient().T_landmarks):.2f} mm" if real else "- (no data)"
    note = NOTE.format(patients=len(seeds), name=BRAIN_REG.name, first=seeds[0], last=seeds[-1],
                       reach=REACH_MM, floor=floor)  # fmt: skip
    write_table("brain_shift", [row(name, of(cases, patient=name)) for name in names], note,
                run.results)  # fmt: skip


def simulated(seed: int) -> Iterator[Case]:
    """Yield the figures of one simulated patient, by shift."""
    case = BRAIN_REG.case(seed)
    targets = case.targets_mri_mm
    for shift_mm in SHIFTS_MM:
        sink = sinking(case, shift_mm, np.random.default_rng([seed, 5]))
        mri = replace(case.mri, data=taken_before(case.mri, sink))
        now = transform_points(case.T_world_mri, targets + sink(targets))
        found, T_world_mri, cpu_s = fitted(case.frames, patient_images([mri], "t1"),
                                           case.T_world_mri)  # fmt: skip
        yield {
            "patient": f"simulated, {shift_mm:g} mm",
            "seed": seed,
            "shifted mm": float(np.linalg.norm(sink(targets), axis=1).mean()),
            **figures(found, T_world_mri, targets, now),
            "CPU s": cpu_s,
        }


def of_the_real_patient() -> Iterator[Case]:
    """Yield the figures of RESECT's patient, by MRI."""
    one = patient()
    for mri in ("FLAIR", "T1", BOTH):
        found, T_world_mri, cpu_s = fitted(one.frames, images(mri), one.T_landmarks)
        yield {
            "patient": REAL + mri,
            "seed": 0,
            "shifted mm": float("nan"),
            **figures(found, T_world_mri, one.mri_points, one.us_points),
            "CPU s": cpu_s,
        }


def fitted(
    frames: Sequence[TrackedFrame], known: PatientImages, T_world_mri: Matrix4
) -> tuple[Deformed, Matrix4, float]:
    """Register from a pose near the truth and deform; return also the pose and the time."""
    settings = RegistrationSettings()
    registration = prepared(frames, known, settings)
    kept = registration.window.frames
    objective = make_objective(observe(kept, settings), registration.channels, settings)
    refined = refine(objective, invert_rigid(T_world_mri), settings.max_iterations)
    T_rigid = invert_rigid(refined.T_mri_world)
    begun_s = time.process_time()
    found = deform(kept, registration.channels, T_rigid, settings, DeformationSettings())
    return found, T_rigid, time.process_time() - begun_s


def sinking(
    case: RegistrationCase, shift_mm: float, rng: np.random.Generator
) -> Callable[[Float64[np.ndarray, "n 3"]], Float64[np.ndarray, "n 3"]]:
    """Return where the brain has gone: an MRI's point x is at ``x + sink(x)`` during the scan."""
    faces = np.array([frame.T_world_transducer[:3, 3] for frame in case.frames])
    craniotomy = transform_points(invert_rigid(case.T_world_mri), faces).mean(axis=0)
    inward = case.targets_mri_mm.mean(axis=0) - craniotomy
    aside = rng.normal(size=3)
    direction = 0.8 * inward / np.linalg.norm(inward) + 0.6 * aside / np.linalg.norm(aside)

    def sink(points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        apart = np.linalg.norm(points - craniotomy, axis=1) / REACH_MM
        return np.asarray(shift_mm * np.exp(-0.5 * apart**2)[:, None] * direction)

    return sink


def taken_before(
    now: Volume, sink: Callable[[Float64[np.ndarray, "n 3"]], Float64[np.ndarray, "n 3"]]
) -> np.ndarray:
    """Return the voxels of the MRI of before, of a brain as it is now."""
    index = np.indices(now.data.shape).reshape(3, -1).T.astype(np.float64)
    points = transform_points(now.T_space_index, index)
    there = transform_points(now.T_index_space, points + sink(points))
    data = map_coordinates(now.data.astype(np.float32), there.T, order=1, cval=0.0)
    return np.asarray(data.reshape(now.data.shape))


def figures(
    found: Deformed,
    T_world_mri: Matrix4,
    points_mri_mm: Float64[np.ndarray, "n 3"],
    true_world_mm: Float64[np.ndarray, "n 3"],
) -> Case:
    """Return errors and gains."""

    def error_mm(points: Float64[np.ndarray, "n 3"]) -> float:
        off = transform_points(T_world_mri, points) - true_world_mm
        return float(np.linalg.norm(off, axis=1).mean())

    rigid = error_mm(points_mri_mm)
    deformed = error_mm(found.deformation.inverse_at(points_mri_mm))
    return {
        "rigid mm": rigid,
        "deformed mm": deformed,
        "used mm": deformed if found.believed else rigid,
        "believed": found.believed,
        "gain": found.score - found.rigid_score,
        "gain elsewhere": found.gain_elsewhere,
        "control points": len(found.deformation.control_mri_mm),
    }


def row(name: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return the figures of a kind of patient."""
    shifted = median(cases, "shifted mm")
    return {
        "patient": name,
        "count": len(cases),
        "shifted mm": shifted if np.isfinite(shifted) else "-",
        "rigid mm": median(cases, "rigid mm"),
        "deformed mm": median(cases, "deformed mm"),
        "used mm": median(cases, "used mm"),
        "worst mm": float((column(cases, "used mm") - column(cases, "rigid mm")).max()),
        "believed": share(column(cases, "believed") > 0),
        "gain elsewhere": median(cases, "gain elsewhere"),
        "control points": median(cases, "control points"),
        "CPU s": median(cases, "CPU s"),
    }


if __name__ == "__main__":
    main()
