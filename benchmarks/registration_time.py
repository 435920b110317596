"""How long a registration takes on the clock, from far and from near, and what it holds in memory.

python -m benchmarks.registration_time [--fast] [--dev]
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.brain_registration import SUCCESS_MM, target_error_mm
from benchmarks.cases import Case, column, median, of, share, write_cases
from benchmarks.measure import measured
from benchmarks.registration_methods import LC2_ALONE, prepared
from benchmarks.sets import BRAIN_REG, RegistrationCase
from benchmarks.tables import write_table
from us_recon.geometry.rigid import Matrix4, invert_rigid, transform_points
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.patient_images import PatientImages, patient_images
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import turn_about_centre

PATIENTS, FAST_PATIENTS = 10, 2
NEAR_MM, NEAR_DEG = 5.0, 3.0
GLOBAL, GLOBAL_LC2, LOCAL = "global", "global, LC2 alone", "local"
SETTINGS = {
    GLOBAL: RegistrationSettings(),
    GLOBAL_LC2: LC2_ALONE,
    LOCAL: RegistrationSettings(start_count=0),
}

NOTE = """
The first {patients} brains of the set {name} ({first} to {last}), one after the other on a machine
that does nothing else, a search on two threads. MRI and frames are prepared, as they are in a node
by the time that an attempt begins. `global`: `MriRegistration` at its defaults from the set's
starts, up to {mm:g} mm and {deg:g} degrees off; `LC2 alone` leaves the tissue's backscatter out.
`local`: the start alone is refined, from {near_mm:g} mm and {near_deg:g} degrees off. Clock: median
and longest. Memory: peak above what was resident. Following is in `brain_tracking`.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all patients and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(BRAIN_REG, FAST_PATIENTS)[:PATIENTS]
    cases: list[Case] = []
    for seed in seeds:
        patient = BRAIN_REG.case(seed)
        images = patient_images([patient.mri], "t1")
        if not cases:  # loops are compiled at their first call
            for method in (GLOBAL, GLOBAL_LC2):
                timed(method, patient, images)
        for method in SETTINGS:
            cases.append({"seed": seed, "method": method, **timed(method, patient, images)})
            print(cases[-1], flush=True)
    write_cases("registration_time", cases, run.results)
    note = NOTE.format(
        patients=len(seeds), name=BRAIN_REG.name, first=seeds[0], last=seeds[-1],
        mm=BRAIN_REG.reach_mm, deg=BRAIN_REG.reach_deg, near_mm=NEAR_MM, near_deg=NEAR_DEG,
    )  # fmt: skip
    rows = [row(name, of(cases, method=name)) for name in SETTINGS]
    write_table("registration_time", rows, note, run.results)


def timed(method: str, patient: RegistrationCase, images: PatientImages) -> Case:
    """Return what one attempt takes."""
    registration = prepared(patient.frames, images, SETTINGS[method])
    start = near(patient) if method == LOCAL else patient.T_world_mri_start
    registration.set_initial(start)
    attempt = measured(registration.step)
    assert attempt.value is not None
    return {
        "error mm": target_error_mm(patient, attempt.value.T_world_mri),
        "clock s": attempt.wall_s,
        "CPU s": attempt.cpu_s,
        "peak MiB": attempt.peak_mib,
    }


def near(patient: RegistrationCase) -> Matrix4:
    """Return a pose a little off, in a direction that is always the same."""
    centre = transform_points(patient.T_world_mri, patient.targets_mri_mm).mean(axis=0)
    aside = np.array([1.0, -1.0, 1.0]) / np.sqrt(3.0)
    twist = np.concatenate([NEAR_MM * aside, np.radians(NEAR_DEG) * aside[::-1]])
    return invert_rigid(turn_about_centre(centre, invert_rigid(patient.T_world_mri), twist))


def row(name: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return medians over the patients."""
    return {
        "attempt": name,
        "patients": len(cases),
        "success": share(column(cases, "error mm") <= SUCCESS_MM),
        "median mm": median(cases, "error mm"),
        "clock s": median(cases, "clock s"),
        "longest s": float(column(cases, "clock s").max()),
        "CPU s": median(cases, "CPU s"),
        "peak MiB": median(cases, "peak MiB"),
    }


if __name__ == "__main__":
    main()
