"""A registered MRI followed through simulated procedures in which the patient moves.

python -m benchmarks.brain_tracking [--fast] [--dev] [--pictures FOLDER]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, of, share, write_cases
from benchmarks.procedures import BRAIN_TRACKING, CELL, WORK, ProcedureCase
from benchmarks.tables import write_table
from us_recon.geometry.rigid import Matrix4, invert_rigid, transform_points
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.channels import make_channels
from us_recon.registration.objective import make_objective
from us_recon.registration.recent import RecentFrames
from us_recon.registration.registrar import MriRegistration
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import refine
from us_recon.simulation.tracker import NS_PER_S

FAST_S = 20.0
BAR_MM = 4.0
ALONE, NEWEST, FOLLOWED = "tracker alone", "newest window alone", "tracking"
COLUMNS = (
    "median mm", "95 % mm", "largest mm", "over 4 mm", "published", "error^2 / variance", "CPU ms",
)  # fmt: skip

NOTE = """
Set {name}, version {version}: {count} procedures of {duration:.0f} s on brains (seeds {first}
to {last}), {rate:.0f} images a second, with a linear, convex or phased probe in turn, tracked with
noise and a calibration error. After one fan sweep the MRI is registered from {start:g} mm and
{turn:g} degrees off; then the probe wanders over the craniotomy at {speed:g} mm/s. The patient who
moves drifts by {drift:g} mm and turns by {drift_deg:g} degrees, breathes by {breath:g} mm, and
slips once by {slip:g} mm and {slip_deg:g} degrees; the tracker's reference sees none of it. The one
who rests is the same procedure without. Error: mean over targets in the imaged region, at every
image from the first registration on, for all methods the same one.

- `tracker alone`: the pose stays as it was registered.
- `newest window alone`: it is refined at every image with the newest frames, without motion model.
- `tracking`: `MriRegistration` at its defaults, a step at every image.

`published`: share of these images with a trusted pose; the errors are of those. `over {bar:g} mm`:
how many of them are further off. `error^2 / variance`: of the images' centre, by the covariance
that comes with the pose, 1 where it is honest. CPU: median of one update on one thread, searches
aside. The brain is its own MRI's template, without brain shift: no accuracy to expect of a patient.
"""


@dataclass(frozen=True, eq=False)
class Said:
    """What a method says at one image.

    Attributes:
        T_world_mri: Its pose; None where it publishes none.
        cpu_ms: CPU time that it took; NaN where it did something else.
        covariance: Of the images' centre (mm2); None where it gives none.
        centre_world_mm: That centre.
        message: In words.
    """

    T_world_mri: Matrix4 | None
    cpu_ms: float = float("nan")
    covariance: Float64[np.ndarray, "3 3"] | None = None
    centre_world_mm: Float64[np.ndarray, "3"] | None = None
    message: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Follow all patients by all methods and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(BRAIN_TRACKING)
    images: list[Case] = []
    for seed in seeds:
        procedure = BRAIN_TRACKING.case(seed, FAST_S if run.fast else np.inf)
        for patient, case in (("moves", procedure), ("rests", procedure.at_rest())):
            for method, said in answers(case).items():
                known: Case = {"seed": seed, "patient": patient, "method": method}
                images += [{**known, **image} for image in judged(case, said)]
                print(known, row(of(images, **known)), flush=True)
    write_cases("brain_tracking", images, run.results)
    rows = [
        {"patient": patient, "method": method, "procedures": len(seeds)}
        | row(of(images, patient=patient, method=method))
        for patient in ("moves", "rests")
        for method in (ALONE, NEWEST, FOLLOWED)
    ]
    motion = BRAIN_TRACKING.motion
    note = NOTE.format(
        name=BRAIN_TRACKING.name, version=BRAIN_TRACKING.version, count=len(seeds),
        first=seeds[0], last=seeds[-1], duration=FAST_S if run.fast else 59.0,
        rate=CELL.image_rate_hz, start=BRAIN_TRACKING.start_mm, turn=BRAIN_TRACKING.start_deg,
        speed=WORK.speed_mm_s, drift=motion.drift_mm, drift_deg=motion.drift_deg,
        breath=motion.breath_mm, slip=motion.slip_mm, slip_deg=motion.slip_deg, bar=BAR_MM,
    )  # fmt: skip
    write_table("brain_tracking", rows, note, run.results)
    if run.pictures is not None:
        draw(images, run.pictures / "brain_tracking.png")


def answers(case: ProcedureCase) -> dict[str, list[Said]]:
    """Return what each method says at each image from the first registration on."""
    followed = by_registrar(case)
    first = next((n for n, said in enumerate(followed) if said.T_world_mri is not None), None)
    if first is None:
        return {FOLLOWED: followed}
    T = followed[first].T_world_mri
    assert T is not None
    count = len(followed) - first
    return {
        ALONE: [Said(T)] * count,
        NEWEST: by_newest_window(case, T, count),
        FOLLOWED: followed[first:],
    }


def by_registrar(case: ProcedureCase) -> list[Said]:
    """Return what the package says at each image from the end of the first sweep on."""
    registration = MriRegistration(case.mri)
    registration.set_initial(case.T_world_mri_start)
    said = []
    for frame in case.frames:
        following = registration.following
        started = time.process_time()
        registration.add_frame(frame)
        if frame.stamp_ns < case.frames[0].stamp_ns + case.start_s * NS_PER_S:
            continue
        update = registration.step()
        cpu_ms = 1e3 * (time.process_time() - started) if following else np.nan
        if update is None or not update.trusted:
            said.append(Said(None, cpu_ms, message="" if update is None else update.message))
        else:
            turned = update.T_world_mri[:3, :3]  # the covariance is on the MRI's axes
            covariance = turned @ update.covariance[:3, :3] @ turned.T
            said.append(
                Said(update.T_world_mri, cpu_ms, covariance, update.centre_world_mm, update.message)
            )
    return said


def by_newest_window(case: ProcedureCase, T_world_mri: Matrix4, count: int) -> list[Said]:
    """Return where a refinement with the newest frames ends at each of the last images."""
    settings = RegistrationSettings()
    channels, recent = make_channels(case.mri, settings), RecentFrames(settings)
    T, said = invert_rigid(T_world_mri), [Said(T_world_mri)]
    for number, frame in enumerate(case.frames, count - len(case.frames)):
        started = time.process_time()
        recent.add(frame)
        if number > 0:
            objective = make_objective(recent.observe(), channels, settings)
            T = refine(objective, T, settings.max_iterations).T_mri_world
            said.append(Said(invert_rigid(T), 1e3 * (time.process_time() - started)))
    return said


def judged(case: ProcedureCase, said: Sequence[Said]) -> list[Case]:
    """Return the error of each answer, in the order of the last images."""
    found: list[Case] = []
    first_ns, targets = case.frames[0].stamp_ns, case.targets_mri_mm
    count = len(said)
    for frame, T_true, one in zip(
        case.frames[-count:], case.T_world_mri[-count:], said, strict=True
    ):
        T, error_mm, consistency = one.T_world_mri, np.nan, np.nan
        if T is not None:
            off = transform_points(T, targets) - transform_points(T_true, targets)
            error_mm = float(np.linalg.norm(off, axis=1).mean())
        if T is not None and one.covariance is not None:
            centre = one.centre_world_mm
            assert centre is not None
            off = transform_points(T_true @ invert_rigid(T), centre) - centre
            consistency = float(off @ np.linalg.solve(one.covariance, off)) / 3.0
        found.append(
            {
                "time s": (frame.stamp_ns - first_ns) / NS_PER_S,
                "error mm": error_mm,
                "error^2 / variance": consistency,
                "CPU ms": one.cpu_ms,
                "message": one.message,
            }
        )
    return found


def row(images: Sequence[Case]) -> dict[str, object]:
    """Return the figures of one method over some images."""
    error = column(images, "error mm")
    published = np.isfinite(error)
    if not published.any():
        return dict.fromkeys(COLUMNS, "-") | {"published": share(published)}
    spread = column(images, "error^2 / variance")
    error, cpu_ms = error[published], column(images, "CPU ms")
    figures = (
        float(np.median(error)),
        float(np.percentile(error, 95.0)),
        float(error.max()),
        int((error > BAR_MM).sum()),
        share(published),
        float(np.nanmean(spread)) if np.isfinite(spread).any() else "-",
        float(np.nanmedian(cpu_ms)) if np.isfinite(cpu_ms).any() else "-",
    )
    return dict(zip(COLUMNS, figures, strict=True))


def draw(images: Sequence[Case], path: Path) -> None:
    """Write the error over time of every procedure with a patient who moves."""
    from matplotlib.figure import Figure

    seeds = sorted({int(str(image["seed"])) for image in images})
    figure = Figure(figsize=(8.0, 2.2 * len(seeds)), layout="constrained")
    panels = figure.subplots(len(seeds), sharex=True, squeeze=False)[:, 0]
    for seed, axes in zip(seeds, panels, strict=True):
        for method, line in ((ALONE, "--"), (NEWEST, ":"), (FOLLOWED, "-")):
            mine = of(images, seed=seed, patient="moves", method=method)
            axes.plot(column(mine, "time s"), column(mine, "error mm"), line, label=method)
        axes.set(ylabel="error, mm", ylim=(0.0, 8.0), title=f"procedure {seed}")
        axes.grid(alpha=0.3)
    panels[0].legend(ncols=3, loc="upper left")
    panels[-1].set(xlabel="time, s")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
