"""What the registration's gate lets through, and how its confidence was calibrated.

python -m benchmarks.brain_gate [--fast] [--dev]

Each patient is scanned once, then registered from far starts: to its own MRI with all frames and
with a few neighbouring ones, to its MRI flipped on all axes, and from a place elsewhere in the
head, further off than is searched. With ``--dev`` the calibration patients are registered, and the
model of `us_recon.registration.confidence` is fitted to them and printed.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from benchmarks.arguments import parse_run
from benchmarks.brain_registration import SUCCESS_MM, target_error_mm
from benchmarks.cases import Case, column, median, of, share, write_cases
from benchmarks.measure import measured
from benchmarks.sets import BRAIN_REG, RegistrationCase, brain_case
from benchmarks.tables import write_table
from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, invert_rigid, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.confidence import MODEL, Model, figures, uncertainty_mm
from us_recon.registration.patient_images import PatientImages, patient_images
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.simulation.tracker import random_rigid

CALIBRATION, TEST = tuple(range(1000, 1030)), tuple(range(2000, 2016))
PROCESSES = 2
OWN, FEW, FLIPPED, ELSEWHERE = "own", "own, few frames", "flipped", "elsewhere"
FEW_FRAMES = 5
MEDIAN_DISTANCE = 0.891  # of chi squared with six degrees of freedom, over six
ELSEWHERE_MM = 70.0
UNLIKE = 0.8  # most of what an MRI shows that no image does, in standard deviations of its values
UNLIKE_CALIBRATION = 1.2  # until the right pose is not found any more: else nothing tells when
UNLIKE_MM = 1.5  # size of it
FIGURES = ("gap", "lead", "area mm2")
SHRINKAGE = 0.0005  # of the standardised weights: separable cases would make them infinite

NOTE = f"""
Brains as in the set brain-reg, other seeds ({{first}} to {{last}}): one fan sweep each, starts up
to {BRAIN_REG.reach_mm:g} mm and {BRAIN_REG.reach_deg:g} degrees off, `MriRegistration` at its
defaults. `few frames`: {FEW_FRAMES} neighbouring frames of the sweep. `flipped`: the MRI flipped on
all axes. `elsewhere`: the start moved by {ELSEWHERE_MM:g} mm, so that the truth is not searched.
Error: mean over targets in the imaged region; right is within {SUCCESS_MM:g} mm. `lead`: score
above the same images mirrored; `gap`: lead over the next different pose; smallest, median and
largest. The confidence was calibrated on seeds {CALIBRATION[0]} to {CALIBRATION[-1]} alone, up to
{UNLIKE_CALIBRATION:g} standard deviations of what is told below.

The virtual brain is its own MRI's template: more alike than any patient and MRI are. Hence a random
field of {UNLIKE_MM:g} mm is added to each MRI, from none at the first seed to {UNLIKE:g} standard
deviations of the MRI at the last. Of every second patient the contrast (T1) is known, so that its
tissue explains the images too; of the others, and where too much
is added for its map, the MRI alone does. CPU: all threads, preparation of the MRI left out.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Register all patients in all cases; write the table, or fit the model."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds, most = (CALIBRATION, UNLIKE_CALIBRATION) if run.dev else (TEST, UNLIKE)
    unlike = np.linspace(0.0, most, len(seeds))
    seeds = seeds[:1] if run.fast else seeds
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        found = pool.map(of_patient, seeds, unlike[: len(seeds)].tolist())
        cases = [case for cases_of_one in found for case in cases_of_one]
    write_cases("brain_gate", cases, run.results)
    rows = [row(name, of(cases, MRI=name)) for name in (OWN, FEW, FLIPPED, ELSEWHERE)]
    write_table("brain_gate", rows, NOTE.format(first=seeds[0], last=seeds[-1]), run.results)
    if run.dev:
        print(fitted(cases))


def of_patient(seed: int, unlike: float) -> list[Case]:
    """Return the figures of one patient in all cases."""
    use_one_thread()
    return list(registered(seed, patient(seed, unlike)))


def patient(seed: int, unlike: float) -> RegistrationCase:
    """Simulate one patient with a start that is off, and an MRI that shows more than there is."""
    rng = np.random.default_rng([seed, 99])
    start_mm, start_deg = rng.uniform(0.0, BRAIN_REG.reach_mm), rng.uniform(0, BRAIN_REG.reach_deg)
    case = brain_case(seed, start_mm, start_deg)
    return replace(case, mri=with_more(case.mri, unlike, rng))


def with_more(mri: Volume, share: float, rng: np.random.Generator) -> Volume:
    """Return an MRI with a smooth random field on it; what holds nothing stays so."""
    known = mri.data > 0
    field = gaussian_filter(rng.normal(size=mri.data.shape), UNLIKE_MM / mri.spacing_mm)
    field *= share * mri.data[known].std() / field.std()
    data = np.where(known, np.maximum(mri.data + field, 1e-3), mri.data)
    return replace(mri, data=data.astype(np.float32))


def registered(seed: int, patient: RegistrationCase) -> Iterator[Case]:
    """Yield the figures of one patient in all cases."""
    flipped = replace(patient.mri, data=np.ascontiguousarray(patient.mri.data[::-1, ::-1, ::-1]))
    own, other = (MriRegistration(known_of(mri, seed)) for mri in (patient.mri, flipped))
    few = few_of(patient.frames)
    rng = np.random.default_rng([seed, 77])
    centre = transform_points(patient.T_world_mri, patient.targets_mri_mm.mean(axis=0))
    there = make_rigid(np.eye(3), centre)
    away = there @ random_rigid(ELSEWHERE_MM, 0.0, rng) @ invert_rigid(there)
    T_start = patient.T_world_mri_start
    for name, registration, frames, T in (
        (OWN, own, patient.frames, T_start),
        (FEW, own, few, T_start),
        (FLIPPED, other, patient.frames, T_start),
        (ELSEWHERE, own, patient.frames, away @ T_start),
    ):
        result = measured(lambda: attempt(registration, frames, T))  # noqa: B023
        update = result.value
        yield {
            "seed": seed,
            "MRI": name,
            "channels": own.channels.data.shape[-1] - 1,
            "start mm": patient.start_mm,
            "start deg": patient.start_deg,
            "after mm": target_error_mm(patient, update.T_world_mri),
            "accepted": update.trusted,
            "confidence": update.confidence,
            "gap": update.gap,
            "lead": update.score - update.chance_score,
            "area mm2": update.area_mm2,
            "score": update.score,
            "uncertainty mm": uncertainty_mm(update.covariance),
            "distance": squared_distance(patient, update),
            "CPU s": result.cpu_s,
        }
        print(name, seed, update.message, flush=True)


def few_of(frames: Sequence[TrackedFrame]) -> Sequence[TrackedFrame]:
    """Return a few neighbouring frames from the middle of a sweep."""
    return frames[len(frames) // 2 - FEW_FRAMES // 2 :][:FEW_FRAMES]


def known_of(mri: Volume, seed: int) -> PatientImages:
    """Return the MRI, of every second patient with its tissue, where that can be told."""
    if seed % 2:
        try:
            return patient_images([mri], "t1")
        except InputError as error:
            print(f"{seed}: {error}", flush=True)
    return patient_images([mri])


def attempt(
    registration: MriRegistration, frames: Sequence[TrackedFrame], T_start: Matrix4
) -> RegistrationUpdate:
    """Register once, on these frames alone."""
    registration.window.clear()
    for frame in frames:
        registration.add_frame(frame)
    registration.set_initial(T_start)
    update = registration.step()
    if update is None:
        raise SystemExit(f"{len(frames)} frames gave no attempt")
    return update


def squared_distance(patient: RegistrationCase, update: RegistrationUpdate) -> float:
    """Return the squared error of the shift and turn in units of its covariance, over 6."""
    if not np.all(np.isfinite(update.covariance)):
        return float("nan")
    correction = invert_rigid(update.T_world_mri) @ patient.T_world_mri
    centre = transform_points(invert_rigid(update.T_world_mri), update.centre_world_mm)
    shift = transform_points(invert_rigid(correction), centre) - centre
    turn = np.array([correction[1, 2], correction[2, 0], correction[0, 1]])  # small: of the inverse
    twist = np.concatenate([shift, turn])
    return float(twist @ np.linalg.solve(update.covariance, twist)) / 6.0


def fitted(cases: Sequence[Case]) -> Model:
    """Fit the logistic model of being right, and the scale of the covariance."""
    columns = [column(cases, name) for name in FIGURES]
    weighed = np.array([figures(*case) for case in zip(*columns, strict=True)])
    right = column(cases, "after mm") <= SUCCESS_MM
    known = np.all(np.isfinite(weighed), axis=1)
    weighed, labels = weighed[known], np.where(right[known], 1.0, -1.0)
    mean, scale = weighed.mean(axis=0), weighed.std(axis=0)
    standard = (weighed - mean) / scale

    def loss(x: np.ndarray) -> float:
        margins = labels * (standard @ x[1:] + x[0])
        return float(np.logaddexp(0.0, -margins).mean() + SHRINKAGE * (x[1:] ** 2).sum())

    # A lead never speaks against a pose.
    x = minimize(loss, np.zeros(3), bounds=[(None, None), (0, None), (0, None)]).x
    weights = x[1:] / scale
    distance = column(cases, "distance")[known & right]
    constant = float(x[0] - (weights * mean).sum())
    # The distances were measured with the scale of now.
    scale_then = MODEL.covariance_scale * float(np.median(distance)) / MEDIAN_DISTANCE
    return Model(constant, *map(float, weights), covariance_scale=scale_then)


def row(name: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return the figures of one case."""
    right = column(cases, "after mm") <= SUCCESS_MM
    accepted = column(cases, "accepted") > 0
    return {
        "MRI": name,
        "attempts": len(cases),
        "right": share(right),
        "median mm": median(cases, "after mm"),
        "accepted": share(accepted),
        "accepted wrong": int(np.sum(accepted & ~right)),
        "confidence": spread(column(cases, "confidence")),
        "lead": spread(column(cases, "lead")),
        "gap": spread(column(cases, "gap")),
        "CPU s": median(cases, "CPU s"),
    }


def spread(values: np.ndarray) -> str:
    """Return smallest, median and largest, of those that are known."""
    known = values[np.isfinite(values)]
    if not known.size:
        return "-"
    return " / ".join(f"{value:.3f}" for value in np.percentile(known, [0, 50, 100]))


if __name__ == "__main__":
    main()
