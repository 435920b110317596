"""What the registration's settings do on simulated development brains, one setting at a time.

python -m benchmarks.registration_settings [--fast]

For choosing how images are compared: patches, blur, time gain and the near field that is ignored.
The scanners differ in what they show right below the face, which no MRI knows of.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.brain_gate import CALIBRATION, UNLIKE_CALIBRATION, attempt, known_of, with_more
from benchmarks.brain_registration import target_error_mm
from benchmarks.cases import Case, column, of, share, write_cases
from benchmarks.sets import BRAIN_REG, RegistrationCase, brain_case, brain_cell, scanner
from benchmarks.tables import write_table
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.registrar import MriRegistration
from us_recon.registration.settings import RegistrationSettings

PROCESSES = 2
SEEDS = CALIBRATION[::5]  # odd and even ones: every second contrast is known
SCANNERS: dict[str, dict[str, float]] = {
    "as in the sets": {},
    "clutter": {"clutter_db": 4.0},
    "clutter and ringing": {"clutter_db": 4.0, "ring_down_mm": 1.0},
}
"""What the scanners show below their faces, beside what is set for the seed."""
NEAR, FAR = "near", "far"
NEAR_MM, NEAR_DEG = 3.0, 3.0
GOOD_MM, RIGHT_MM = 1.5, 3.0
DEFAULT = RegistrationSettings()
VARIED: dict[str, tuple[float, ...]] = {
    "near_field_mm": (0.0, 2.0, 3.5, 5.0, 6.5, 8.0, 10.0),
    "patch_samples": (3, 5, 7, 9),
    "blur_mm": (0.0, 0.5, 1.0, 1.5),
    "time_gain_mm": (0.0, 3.0, 6.0, 12.0),
    "ridge": (0.01, 0.1, 1.0),
}
SEARCHED = {"near_field_mm": (2.0, 5.0, 8.0)}
"""With a search from far too, which some settings mislead."""

NOTE = f"""
Brains as in `brain_gate`, {{patients}} of those that calibrate the confidence (seeds {{first}} to
{{last}}), each MRI less like its brain than the one before, every second one of known contrast; all
frames. Each is scanned by {len(SCANNERS)} scanners: as in the sets (clutter below the face of -8 dB
relative to soft tissue, fading to 1/e over 5 mm; ringing of 25 dB, over 0.3 mm), with clutter of 4
dB, and with that and ringing over 1 mm. One setting differs from its default, which is in bold.
`{NEAR}`: refined, without a search, from {NEAR_MM:g} mm and {NEAR_DEG:g} degrees off; `{FAR}`:
searched from up to {BRAIN_REG.reach_mm:g} mm and {BRAIN_REG.reach_deg:g} degrees off. Errors of
the targets: median, 95th percentile, and share within {GOOD_MM:g} and {RIGHT_MM:g} mm.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Register all cases with each setting and write the tables."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = SEEDS[:1] if run.fast else SEEDS
    unlike = np.linspace(0.0, UNLIKE_CALIBRATION, len(SEEDS))[: len(seeds)]
    names = list(SCANNERS)[-1:] if run.fast else list(SCANNERS)
    jobs = [(seed, more, name) for seed, more in zip(seeds, unlike, strict=True) for name in names]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        cases = [case for found in pool.map(of_scan, *zip(*jobs, strict=True)) for case in found]
    write_cases("registration_settings", cases, run.results)
    rows = [
        row(setting, value, of(cases, setting=setting, value=value, start=start))
        for start, varied in ((NEAR, VARIED), (FAR, SEARCHED))
        for setting, values in varied.items()
        for value in values
    ]
    note = NOTE.format(patients=len(seeds), first=seeds[0], last=seeds[-1])
    write_table("registration_settings", rows, note, run.results)


def of_scan(seed: int, unlike: float, name: str) -> list[Case]:
    """Return the figures of one scan of one patient with every setting."""
    use_one_thread()
    rng = np.random.default_rng([seed, 98])
    far = float(rng.uniform(0.0, BRAIN_REG.reach_mm)), float(rng.uniform(0.0, BRAIN_REG.reach_deg))
    imager = replace(scanner(seed), **SCANNERS[name])
    patient = brain_case(seed, NEAR_MM, NEAR_DEG, imager)
    patient = replace(patient, mri=with_more(patient.mri, unlike, np.random.default_rng(seed)))
    T_far = brain_cell(seed, imager).initial_T_world_mri(*far)
    known = known_of(patient.mri, seed)
    cases = [
        {"seed": seed, "scanner": name, "start": start, **case}
        for start, T_start, varied in (
            (NEAR, patient.T_world_mri_start, VARIED),
            (FAR, T_far, SEARCHED),
        )
        for case in registered(replace(patient, T_world_mri_start=T_start), known, start, varied)
    ]
    print(seed, name, flush=True)
    return cases


def registered(
    patient: RegistrationCase,
    known: PatientImages,
    start: str,
    varied: dict[str, tuple[float, ...]],
) -> Iterator[Case]:
    """Yield the error with every value of every setting."""
    fixed = DEFAULT if start == FAR else replace(DEFAULT, start_count=0)
    for setting, values in varied.items():
        for value in values:
            registration = MriRegistration(known, replace(fixed, **{setting: value}))
            update = attempt(registration, patient.frames, patient.T_world_mri_start)
            yield {
                "setting": setting,
                "value": value,
                "after mm": target_error_mm(patient, update.T_world_mri),
                "accepted": update.trusted,
            }


def row(setting: str, value: float, cases: Sequence[Case]) -> dict[str, object]:
    """Return the figures of one value."""
    after = column(cases, "after mm")
    mark = "**" if value == getattr(DEFAULT, setting) else ""
    return {
        "setting": setting,
        "value": f"{mark}{value:g}{mark}",
        "start": cases[0]["start"],
        "scans": len(cases),
        "median mm": float(np.median(after)),
        "95 % mm": float(np.percentile(after, 95)),
        f"within {GOOD_MM:g} mm": share(after <= GOOD_MM),
        f"within {RIGHT_MM:g} mm": share(after <= RIGHT_MM),
    }


if __name__ == "__main__":
    main()
