"""Registration of MRI to intraoperative ultrasound of a real patient (RESECT, case 24).

The ultrasound is published as a compounded volume; tracked frames are cut out of it as a convex
probe that tilts where the real one did. Starts are off the landmarks' best rigid pose; the error
is the mean distance of the 16 expert landmarks.

python -m benchmarks.resect24 [--fast] [--dev] [--pictures FOLDER]
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, median, share
from benchmarks.measure import measured
from benchmarks.registration_methods import (
    LOCAL,
    NELDER_MEAD_EVALUATIONS,
    REGISTRATION_METHODS,
    SEARCH,
    SEARCH_LC2,
    registrar,
)
from benchmarks.tables import data_dir, write_table
from us_recon.evaluation.registration_figure import overlay, panel_figure
from us_recon.geometry.rigid import (
    Matrix4,
    invert_rigid,
    make_rigid,
    nearest_rigid,
    transform_points,
)
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.volume import Volume
from us_recon.io.landmarks import read_tag_pairs
from us_recon.io.volumes import read_volume
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.landmarks import fit_rigid
from us_recon.registration.patient_images import PatientImages, patient_images, resampled
from us_recon.registration.registrar import MriRegistration
from us_recon.registration.settings import RegistrationSettings
from us_recon.simulation.cell import make_cell
from us_recon.simulation.reslice import sweep

FINE_MM, SUCCESS_MM = 1.5, 2.0


@dataclass(frozen=True)
class Starts:
    """Where the registrations start.

    Attributes:
        name: For the table.
        count: How many there are.
        mm: How far they are off at most.
        deg: And how far they are turned.
        seed: Of the random generator.
        dev_seed: Of other starts, for choosing settings.
    """

    name: str
    count: int
    mm: float
    deg: float
    seed: int
    dev_seed: int


NEAR = Starts("near", 20, 5.0, 5.0, seed=24, dev_seed=1024)
FAR = Starts("far", 50, 20.0, 15.0, seed=25, dev_seed=1025)
FAST_STARTS = 1
COMPARED_STARTS = 20
"""Of the far starts, for the baselines and the controls."""
BOTH, FLIPPED, OTHER_HEAD = "FLAIR and T1", ("FLAIR flipped", "T1 flipped"), "another head"
SEARCH_BEFORE = "search, as before this patient"
METHODS = REGISTRATION_METHODS | {
    SEARCH_BEFORE: registrar(
        RegistrationSettings(
            near_field_mm=2.0, time_gain_mm=0.3, candidate_count=60, candidate_patches=400
        )
    )
}
PROCESSES = 2
FRAMES = 30
PROBE = ProbeGeometry.sector(ProbeKind.CONVEX, 34.0, 40.0, depth_mm=45.0, width_px=240)
# Where the probe's face was, and where it pointed, read off the outline of the scanned voxels: it
# tilted about axis 1, with its face across the lower right corner of the planes of axes 0 and 2.
FIRST_FACE, FIRST_DEPTH = (86.4, 53.0, 83.6), (-0.15, 0.0, -0.99)
LAST_FACE, LAST_DEPTH = (66.6, 53.0, 103.4), (-0.80, 0.0, -0.60)

NOTE = """\
Real patient, RESECT case 24 (brain, before resection). {frames} frames are cut out of the
compounded ultrasound along the probe's own sweep (the case has no frames of its own), and
registered from starts off the landmarks' rigid pose. {starts}.
Error: mean distance of the 16 landmark pairs; the landmarks' own rigid fit leaves {floor:.2f} mm.
`search` is `MriRegistration` at its default settings; the MRI's contrast is given, so that the
tissue's backscatter joins LC2, where there is but one MRI. `search, LC2 alone` leaves it out,
`local` refines the start alone, `{before}` has the values that near field, time
gain, candidates and patches had until this patient was looked at. `accepted` passed the gate,
`right` is the share of those within 2 mm. Controls, of which nothing may be accepted: the MRI
flipped on all three axes, and another head (the ICBM template's T1, on its own axes), from the
first {compared} of the same starts, as the baselines and what was before.

Baselines, which have no gate: `identity` does nothing; `LC2 with Nelder-Mead` climbs LC2's score
on the same frames without derivatives ({evaluations} evaluations); `mutual information` is
Mattes' of SimpleITK between the compounded frames and the MRI, over three resolutions.

The fine level's patch size and blur come from an earlier study that knew the truth of this very
patient. That time gain changes slowly with depth (`time_gain_mm`) was found on it too: it gains 0.3
mm here, and simulated brains do not tell it from a gain of any shape. So was, on other starts, that
what shines below the face misleads (`near_field_mm`: FLAIR 1.35 mm with 2 mm of it left out, 1.06
with 5; T1 2.3 and 1.7), that sulci were missing from the tissue map, that more patches must rank a
search's candidates, and that LC2 alone is to seek before all channels decide: simulated brains do
not tell the two apart. Simulated development brains choose the same near field and number of
patches by themselves (`search_settings`: right with all and with few frames, 94 and 44 % with 2 mm,
100 and 69 % with 5). The coarse level, the fits' damping, the channels, the
other counts and the confidence were chosen on simulated brains alone. `local` has nothing else to
compare with and accepts nothing. `lead`: score above that of the same images mirrored. Time: CPU,
all threads, {processes} registrations side by side. Memory: peak above what was resident.
"""


@dataclass(frozen=True, eq=False)
class Patient:
    """The recording.

    Attributes:
        frames: Cut out of the ultrasound.
        mris: FLAIR and T1, each also flipped, by name.
        mri_points: Landmarks in the MRI.
        us_points: The same in the ultrasound.
    """

    frames: list[TrackedFrame]
    mris: dict[str, Volume]
    mri_points: Float64[np.ndarray, "n 3"]
    us_points: Float64[np.ndarray, "n 3"]

    @property
    def T_landmarks(self) -> Matrix4:
        """The landmarks' best rigid pose."""
        return fit_rigid(self.mri_points, self.us_points)

    def error_mm(self, T_world_mri: Matrix4) -> float:
        """Return the landmarks' mean distance at a pose."""
        moved = transform_points(T_world_mri, self.mri_points)
        return float(np.linalg.norm(moved - self.us_points, axis=1).mean())

    def starts(self, starts: Starts) -> list[Matrix4]:
        """Return the first guesses."""
        return list(perturbed(self.T_landmarks, self.mri_points.mean(axis=0), starts))


@lru_cache(maxsize=1)
def patient() -> Patient:
    """Read the recording, once in each process."""
    folder = data_dir() / "resect_case24"
    mris = {name: read_volume(folder / f"Case24_{name}_in_US_grid.nii.gz")
            for name in ("FLAIR", "T1")}  # fmt: skip
    mris |= {f"{name} flipped": flipped(mri) for name, mri in mris.items()}
    frames = list(cut_frames(read_volume(folder / "Case24_US.nii.gz")))
    return Patient(frames, mris, *read_tag_pairs(folder / "Case24-MRI-beforeUS.tag"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Register from all starts and write the tables."""
    run = parse_run(__doc__, arguments)
    plans = [replace(starts, count=FAST_STARTS) if run.fast else starts for starts in (NEAR, FAR)]
    if run.dev:
        plans = [replace(starts, seed=starts.dev_seed) for starts in plans]
    tasks = [(starts, mri, method) for starts in plans for mri, method in wanted(starts)]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        found = list(pool.map(tried, *zip(*tasks, strict=True)))
    note = NOTE.format(
        frames=FRAMES,
        starts=";\n".join(f"{one.name}: {one.count} up to {one.mm:g} mm and {one.deg:g} degrees "
                          f"(seed {one.seed})" for one in plans),
        floor=patient().error_mm(patient().T_landmarks),
        evaluations=NELDER_MEAD_EVALUATIONS,
        processes=PROCESSES,
        compared=COMPARED_STARTS,
        before=SEARCH_BEFORE,
    )  # fmt: skip
    write_table("resect24_starts", [case for cases in found for case in cases], note, run.results)
    write_table("resect24", [summarised(cases) for cases in found], note, run.results)
    if run.pictures is not None:
        run.pictures.mkdir(parents=True, exist_ok=True)
        draw(run.pictures / "resect24.png", patient(), patient().starts(plans[0])[0])


def wanted(starts: Starts) -> list[tuple[str, str]]:
    """Return MRI and method of each row."""
    baselines = ["identity", SEARCH, "LC2 with Nelder-Mead", "mutual information"]
    if starts.name == FAR.name:
        rows = [("FLAIR", name) for name in (*baselines, SEARCH_LC2)]
        rows += [("T1", SEARCH), ("T1", SEARCH_LC2), (BOTH, SEARCH)]
        rows += [(mri, SEARCH_BEFORE) for mri in ("FLAIR", "T1", BOTH)]
        return [*rows, *((mri, SEARCH) for mri in (*FLIPPED, OTHER_HEAD))]
    return [(mri, name) for mri in ("FLAIR", "T1") for name in (*baselines, LOCAL)]


@lru_cache(maxsize=1)
def images(name: str) -> PatientImages:
    """Return what a row registers."""
    mris = patient().mris
    if name == BOTH:
        return patient_images([mris["FLAIR"], mris["T1"]])
    if name == OTHER_HEAD:
        return patient_images([resampled(make_cell("brain").mri, mris["T1"])], "t1")
    return patient_images([mris[name]], name.split(maxsplit=1)[0].lower())


def tried(starts: Starts, mri: str, method: str) -> list[Case]:
    """Register one MRI from all starts by one method; return the figures of each."""
    use_one_thread()
    one = patient()
    cases: list[Case] = []
    compared = method not in (SEARCH, SEARCH_LC2) or mri in (*FLIPPED, OTHER_HEAD)
    few = one.starts(starts)[:COMPARED_STARTS] if compared else one.starts(starts)
    for number, T_start in enumerate(few):
        register = partial(METHODS[method], one.frames, images(mri), T_start)
        result = measured(register)
        update = result.value.update
        cases.append(
            {
                "starts": starts.name,
                "MRI": mri,
                "method": method,
                "start": number,
                "before mm": one.error_mm(T_start),
                "after mm": one.error_mm(result.value.T_world_mri),
                "accepted": "-" if result.value.accepted is None else result.value.accepted,
                "score": update.score if update else np.nan,
                "lead": update.score - update.chance_score if update else np.nan,
                "gap": update.gap if update else np.nan,
                "s": result.cpu_s,
                "peak MiB": result.peak_mib,
            }
        )
    print(summarised(cases), flush=True)
    return cases


def cut_frames(ultrasound: Volume) -> Iterator[TrackedFrame]:
    """Cut the sweep's frames out of the compounded volume."""
    first = probe_pose(ultrasound, FIRST_FACE, FIRST_DEPTH)
    last = probe_pose(ultrasound, LAST_FACE, LAST_DEPTH)
    return sweep(ultrasound, PROBE, first, last, FRAMES)


def probe_pose(
    volume: Volume, face_index: tuple[float, ...], depth_index: tuple[float, ...]
) -> Matrix4:
    """Return the pose of an array face given in voxels; its lateral axis is index axis 1."""
    directions = volume.T_space_index[:3, :3]
    lateral, depth = directions @ [0.0, 1.0, 0.0], directions @ depth_index
    lateral, depth = lateral / np.linalg.norm(lateral), depth / np.linalg.norm(depth)
    rotation = np.column_stack([lateral, depth, np.cross(lateral, depth)])
    origin = transform_points(volume.T_space_index, np.array(face_index))
    return nearest_rigid(make_rigid(rotation, origin))  # the affine is slightly sheared


def perturbed(
    T_world_mri: Matrix4, centre_mri_mm: Float64[np.ndarray, "3"], starts: Starts
) -> Iterator[Matrix4]:
    """Yield poses turned and moved in random directions by up to the reach."""
    rng = np.random.default_rng(starts.seed)
    about = make_rigid(np.eye(3), centre_mri_mm)
    for _ in range(starts.count):
        shift, axis = rng.normal(size=(2, 3))
        shift *= rng.uniform(0.0, starts.mm) / np.linalg.norm(shift)
        axis *= np.radians(rng.uniform(0.0, starts.deg)) / np.linalg.norm(axis)
        error = make_rigid(Rotation.from_rotvec(axis).as_matrix(), shift)
        yield T_world_mri @ about @ error @ invert_rigid(about)


def flipped(volume: Volume) -> Volume:
    """Return the volume flipped on all axes, in the same place."""
    return replace(volume, data=np.ascontiguousarray(volume.data[::-1, ::-1, ::-1]))


def summarised(cases: Sequence[Case]) -> dict[str, object]:
    """Return one row for all starts of a method."""
    after = column(cases, "after mm")
    judged = all(case["accepted"] != "-" for case in cases)
    accepted = column(cases, "accepted") > 0 if judged else np.zeros(len(cases), bool)
    lead = column(cases, "lead")
    return {
        "starts": f"{len(cases)} {cases[0]['starts']}",
        "MRI": cases[0]["MRI"],
        "method": cases[0]["method"],
        "within 1.5 mm": share(after <= FINE_MM),
        "within 2 mm": share(after <= SUCCESS_MM),
        "median mm": float(np.median(after)),
        "95 % mm": float(np.percentile(after, 95)),
        "lead": f"{lead.min():.3f} to {lead.max():.3f}" if judged else "-",
        "accepted": share(accepted) if judged else "-",
        "right": share(after[accepted] <= SUCCESS_MM),
        "s": median(cases, "s"),
        "peak MiB": median(cases, "peak MiB"),
    }


def draw(path: Path, patient: Patient, T_start: Matrix4) -> None:
    """Write measured and expected image and the MRI's slice: before, after, and by landmarks."""
    frame, mri = patient.frames[len(patient.frames) // 2], patient.mris["FLAIR"]
    after = REGISTRATION_METHODS[SEARCH](patient.frames, images("FLAIR"), T_start).T_world_mri
    poses = {"before": T_start, "after": after, "landmarks": patient.T_landmarks}
    registration = MriRegistration(images("FLAIR"))
    plane = frame.geometry.pixels_to_mm(frame.geometry.pixel_grid)
    points = transform_points(frame.T_world_transducer, np.pad(plane, ((0, 0), (0, 0), (0, 1))))
    measured = cv2.convertScaleAbs(frame.image, alpha=2.0)
    rows = []
    for when, T in poses.items():
        expected = cv2.convertScaleAbs(registration.expected_image(frame, T), alpha=2.0)
        values = mri.sample(transform_points(invert_rigid(T), points), fill=0.0)
        slice_image = np.clip(values * frame.geometry.fan_mask, 0, 255).astype(np.uint8)
        title = f"MRI {when}: {patient.error_mm(T):.1f} mm"
        rows.append([("measured", measured), (title, slice_image),
                     ("expected", expected), ("both", overlay(measured, expected))])  # fmt: skip
    cv2.imwrite(str(path), panel_figure(rows)[..., ::-1])


if __name__ == "__main__":
    main()
