"""Registration of simulated brains by all methods, from starts up to 30 mm and 20 degrees off.

python -m benchmarks.brain_registration [--fast] [--dev] [--pictures FOLDER]
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, median, of, share, write_cases
from benchmarks.measure import measured
from benchmarks.registration_methods import (
    NELDER_MEAD_EVALUATIONS,
    NELDER_MEAD_STEP,
    REGISTRATION_METHODS,
    RegistrationMethod,
)
from benchmarks.sets import BRAIN_REG, RegistrationCase
from benchmarks.tables import write_table
from us_recon.geometry.rigid import Matrix4, transform_points
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.patient_images import PatientImages, patient_images

SUCCESS_MM = 3.0
OFFSETS_MM = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0))
FAST_PATIENTS = 2

NOTE = """
Set {name}, version {version}: {count} brains under random craniotomies (seeds {first} to {last}),
one fan sweep each with a linear, convex or phased probe in turn, tracked with noise and a
calibration error. The start is up to {mm:g} mm and {deg:g} degrees off in the middle of the images.
Error: mean over targets in the imaged region; a success is within {success:g} mm. `accepted` is the
method's own judgement, "-" for methods that have none; `wrong` are those accepted that are no
success. The last columns are the successes by how far the start was shifted.

- `search`: `MriRegistration` at its defaults, which search 31 mm and 21 degrees and explain the
  images jointly by the MRI (LC2: intensity and gradient magnitude) and its tissue's backscatter;
  `LC2 alone` and `tissue alone` (edges and backscatter) at the same settings otherwise, and from
  the same coarse level, which is LC2's.
- `local` refines the start alone and accepts nothing, for it compares with no other pose.
- `LC2 with Nelder-Mead`: LC2's score on the same frames, without derivatives, {evaluations}
  evaluations from a simplex of {step:g} mm and degrees.
- `mutual information`: Mattes' of SimpleITK between the compounded sweep and the MRI, over three
  resolutions, gradient descent.

The virtual brain is its own MRI's template, without brain shift: no accuracy to expect of a
patient. `gap`: lead in score over the next different pose, as a share of the score; median of the
successes. CPU: all threads, preparation of the MRI included but for the map of its tissue, which is
made once for a patient (see `tissue_map`); `attempt s`: on the clock with two threads, once MRI
and frames are prepared. Memory: peak above what was resident.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Register all patients by all methods and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(BRAIN_REG, FAST_PATIENTS)
    cases: list[Case] = []
    for seed in seeds:
        patient = BRAIN_REG.case(seed)
        images = patient_images([patient.mri], "t1")
        for name, method in REGISTRATION_METHODS.items():
            cases.append({"seed": seed, "method": name, **tried(method, patient, images)})
            print(cases[-1], flush=True)
    write_cases("brain_reg", cases, run.results)
    note = NOTE.format(
        name=BRAIN_REG.name, version=BRAIN_REG.version, count=len(seeds), first=seeds[0],
        last=seeds[-1], mm=BRAIN_REG.reach_mm, deg=BRAIN_REG.reach_deg, success=SUCCESS_MM,
        evaluations=NELDER_MEAD_EVALUATIONS, step=NELDER_MEAD_STEP,
    )  # fmt: skip
    rows = [row(name, of(cases, method=name)) for name in REGISTRATION_METHODS]
    write_table("brain_reg", rows, note, run.results)
    if run.pictures is not None:
        draw(cases, run.pictures / "brain_reg.png")


def tried(method: RegistrationMethod, patient: RegistrationCase, images: PatientImages) -> Case:
    """Return the figures of one method on one patient."""
    result = measured(lambda: method(patient.frames, images, patient.T_world_mri_start))
    accepted, update = result.value.accepted, result.value.update
    return {
        "start mm": patient.start_mm,
        "start deg": patient.start_deg,
        "before mm": target_error_mm(patient, patient.T_world_mri_start),
        "after mm": target_error_mm(patient, result.value.T_world_mri),
        "accepted": "-" if accepted is None else accepted,
        "gap": update.gap / update.score if update else np.nan,
        "CPU s": result.cpu_s,
        "attempt s": result.value.attempt_s,
        "peak MiB": result.peak_mib,
    }


def target_error_mm(patient: RegistrationCase, T_world_mri: Matrix4) -> float:
    """Return the mean distance of the targets from their true places."""
    targets = patient.targets_mri_mm
    off = transform_points(T_world_mri, targets) - transform_points(patient.T_world_mri, targets)
    return float(np.linalg.norm(off, axis=1).mean())


def row(method: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return a method's figures over all patients."""
    after, start = column(cases, "after mm"), column(cases, "start mm")
    success = after <= SUCCESS_MM
    judged = [case for case in cases if case["accepted"] != "-"]
    wrong = [
        case for case in of(judged, accepted=True) if float(str(case["after mm"])) > SUCCESS_MM
    ]
    return {
        "method": method,
        "patients": len(cases),
        "success": share(success),
        "median of successes mm": float(np.median(after[success])) if success.any() else "-",
        "median mm": float(np.median(after)),
        "gap": relative_gap(cases, success),
        "accepted": share(column(judged, "accepted")) if judged else "-",
        "wrong": len(wrong) if judged else "-",
        "CPU s": median(cases, "CPU s"),
        "attempt s": median(cases, "attempt s"),
        "peak MiB": median(cases, "peak MiB"),
        **{
            f"{low:g} to {high:g} mm": share(success[(start >= low) & (start < high)])
            for low, high in OFFSETS_MM
        },
    }


def relative_gap(cases: Sequence[Case], success: np.ndarray) -> object:
    """Return the median lead of the successes; "-" of methods that know none."""
    known = column(cases, "gap")[success]
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else "-"


def draw(cases: Sequence[Case], path: Path) -> None:
    """Write the share of successes against how far the start was off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    middles = [0.5 * (low + high) for low, high in OFFSETS_MM]
    dashes = ("-", "-", "--", ":", "--", "-.", ":")  # lines that run together must both be seen
    for name, marker, line in zip(REGISTRATION_METHODS, "oxPsd^v", dashes, strict=True):
        mine = of(cases, method=name)
        start, success = column(mine, "start mm"), column(mine, "after mm") <= SUCCESS_MM
        shares = [
            100.0 * float(np.mean(inside)) if len(inside) else np.nan
            for inside in (success[(start >= low) & (start < high)] for low, high in OFFSETS_MM)
        ]
        axes.plot(middles, shares, marker=marker, linestyle=line, label=name)
    axes.set(
        xlabel="start off by, mm (bins of 10)",
        ylabel=f"within {SUCCESS_MM:g} mm, %",
        xlim=(0.0, OFFSETS_MM[-1][1]),
        ylim=(-3.0, 103.0),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
