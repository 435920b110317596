"""What a search finds with other settings: where the right pose is lost.

python -m benchmarks.search_settings [--fast]

For choosing `candidate_count`, `candidate_patches` and `near_field_mm`, on development patients
and starts alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.brain_gate import (
    CALIBRATION,
    FEW_FRAMES,
    UNLIKE_CALIBRATION,
    attempt,
    few_of,
    known_of,
    patient,
)
from benchmarks.brain_registration import SUCCESS_MM, target_error_mm
from benchmarks.cases import Case, column, median, of, share, write_cases
from benchmarks.measure import measured
from benchmarks.resect24 import FAR, images
from benchmarks.resect24 import SUCCESS_MM as REAL_SUCCESS_MM
from benchmarks.resect24 import patient as real_patient
from benchmarks.tables import write_table
from us_recon.geometry.rigid import Matrix4
from us_recon.imaging.frame import TrackedFrame
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.registrar import MriRegistration
from us_recon.registration.settings import RegistrationSettings

PROCESSES = 2
PATIENTS, REAL_STARTS, FAST = 16, 24, 1
WHOLE, FEW, REAL = "simulated", "simulated, few frames", "RESECT 24, T1"
RIGHT_MM = {WHOLE: SUCCESS_MM, FEW: SUCCESS_MM, REAL: REAL_SUCCESS_MM}
DEFAULT = RegistrationSettings()
Setting = tuple[int, int, float]
COLUMNS = "candidates", "patches", "near field mm"
"""Poses that are refined finely, patches by which they are ranked, and what is left out."""
RANKED: tuple[Setting, ...] = tuple(
    (candidates, patches, DEFAULT.near_field_mm)
    for candidates, patches in ((60, 400), (40, 800), (40, 1600), (30, 1600))
)
NEAR_FIELDS: tuple[Setting, ...] = tuple(
    (DEFAULT.candidate_count, DEFAULT.candidate_patches, near_field_mm)
    for near_field_mm in (2.0, 3.5, 6.5, 8.0)
)
SETTINGS = {WHOLE: RANKED + NEAR_FIELDS, FEW: RANKED + NEAR_FIELDS, REAL: RANKED}
LESS = 1e-3  # in score: further below the right pose's than refinements end apart

NOTE = """
Each registered from a far start, at the defaults but for `candidates`, poses that are refined
finely and ranked there, `patches`, by which they are ranked, and `near field mm`, the depth below
the face that is left out. Development cases alone: {patients} brains of those that calibrate the
confidence, the ones least like their MRIs (seeds {first} to {last}, see `brain_gate`), with all
frames and with {few} neighbouring ones; and the real patient with T1 from {starts} starts (seed
{seed}, see `resect24`), with the near field of the default.

`right`: targets within {right_mm:g} mm, the real patient's landmarks within {real_mm:g}. `lost`:
the pose found is wrong and scores less than what is reached from the true pose, so that it was the
search that failed, and not the score. CPU: all threads, preparation of the MRI left out. Defaults:
{candidates} candidates, {patches} patches, {near_field_mm:g} mm.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Register all cases with each setting and write the tables."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    count, starts = (FAST, FAST) if run.fast else (PATIENTS, REAL_STARTS)
    unlike = np.linspace(0.0, UNLIKE_CALIBRATION, len(CALIBRATION))
    seeds = CALIBRATION[-count:]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        simulated = pool.map(of_patient, seeds, unlike[-count:].tolist())
        real = pool.map(of_start, range(starts))
        cases = [case for found in (simulated, real) for one in found for case in one]
    write_cases("search_settings", cases, run.results)
    rows = [
        row(name, setting, of(cases, frames=name, **dict(zip(COLUMNS, setting, strict=True))))
        for name, settings in SETTINGS.items()
        for setting in settings
    ]
    note = NOTE.format(
        patients=count, first=seeds[0], last=seeds[-1], few=FEW_FRAMES, starts=starts,
        seed=FAR.dev_seed, right_mm=SUCCESS_MM, real_mm=REAL_SUCCESS_MM,
        candidates=DEFAULT.candidate_count, patches=DEFAULT.candidate_patches,
        near_field_mm=DEFAULT.near_field_mm,
    )  # fmt: skip
    write_table("search_settings", rows, note, run.results)


def of_patient(seed: int, unlike: float) -> list[Case]:
    """Return the figures of one simulated patient."""
    use_one_thread()
    one = patient(seed, unlike)
    known, error_mm = known_of(one.mri, seed), partial(target_error_mm, one)
    poses = one.T_world_mri, one.T_world_mri_start
    return [
        case
        for name, frames in ((WHOLE, one.frames), (FEW, few_of(one.frames)))
        for case in searched(name, seed, known, frames, poses, error_mm)
    ]


def of_start(number: int) -> list[Case]:
    """Return the figures of the real patient from one development start."""
    use_one_thread()
    one = real_patient()
    poses = one.T_landmarks, one.starts(replace(FAR, seed=FAR.dev_seed))[number]
    return list(searched(REAL, number, images("T1"), one.frames, poses, one.error_mm))


def searched(
    name: str,
    number: int,
    known: PatientImages,
    frames: Sequence[TrackedFrame],
    poses: tuple[Matrix4, Matrix4],
    error_mm: Callable[[Matrix4], float],
) -> Iterator[Case]:
    """Yield the figures of each setting; the poses are the true one and the start."""
    T_true, T_start = poses
    for setting in SETTINGS[name]:
        candidates, patches, near_field_mm = setting
        chosen = replace(
            DEFAULT,
            candidate_count=candidates,
            candidate_patches=patches,
            near_field_mm=near_field_mm,
        )
        local = MriRegistration(known, replace(chosen, start_count=0))
        right_score = attempt(local, frames, T_true).score
        registration = MriRegistration(known, chosen)
        result = measured(lambda: attempt(registration, frames, T_start))  # noqa: B023
        score, after_mm = result.value.score, error_mm(result.value.T_world_mri)
        right = after_mm <= RIGHT_MM[name]
        yield {
            "frames": name,
            "number": number,
            **dict(zip(COLUMNS, setting, strict=True)),
            "score": score,
            "right score": right_score,
            "gap": result.value.gap,
            "CPU s": result.cpu_s,
            "after mm": after_mm,
            "right": right,
            "lost": not right and score < right_score - LESS,
        }
        print(name, number, setting, result.value.message, flush=True)


def row(name: str, setting: Setting, cases: Sequence[Case]) -> dict[str, object]:
    """Return the figures of one setting."""
    return {
        "frames": name,
        **dict(zip(COLUMNS, setting, strict=True)),
        "cases": len(cases),
        "right": share(column(cases, "right") > 0),
        "lost": int(column(cases, "lost").sum()),
        "median mm": median(cases, "after mm"),
        "CPU s": median(cases, "CPU s"),
    }


if __name__ == "__main__":
    main()
