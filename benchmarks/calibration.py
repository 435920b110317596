"""How well latency and probe calibration are told from a recording.

python -m benchmarks.calibration [--fast] [--dev]
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.arguments import Run, parse_run
from benchmarks.calibration_cases import CROSSING, ONE_WAY, THERE_AND_BACK, Motion, scan
from benchmarks.tables import data_dir, write_table
from us_recon.calibration.checks import ProbeReport, check_probe
from us_recon.calibration.latency import LatencyEstimate, estimate_latency
from us_recon.calibration.recording import Recording, read_recording
from us_recon.geometry.rigid import Matrix4, transform_points
from us_recon.imaging.assembler import AssemblerSettings
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry
from us_recon.io.plus import read_plus_recording, read_plus_sequence
from us_recon.io.ultrabones import read_leg_recording
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.tracker import TrackerSettings, random_rigid

LATENCY_NOTE = """
Latency of the images against the poses, ms, from motion alone. `error`: estimate less truth;
`std. error`: what the estimate says of itself. `motion` and `agreement`: the two methods, with
their own standard errors; one in brackets was not used. `there and back`: a hand slides over 24 mm
for 16 s with uneven speed and tilts by 6 degrees; `crossing`: for 20 s, the probe is turned by 90
degrees half-way; `one way`: a single slide at constant speed, from which nothing can be told.
Images at 20 Hz, poses at 100 Hz with noise of 0.1 mm and 0.05 degrees, jitter and drop-outs.
`water tank`: a real recording of the PLUS toolkit; its truth is PLUS's own result (`TrackerLagSec`
of its baseline); its calibration is not known, so depth was taken along the main direction of the
probe's motion.
"""
CHECK_NOTE = """
Probe calibration, `us-recon calibrate check`. `off`: error given to the calibration, root mean
square over the image's pixels, mm; `found`: size of the correction that makes the passes agree
best, with its standard error; `left`: what remains of the error once it is applied (components
that the recording does not tell remain); `told`: how many of six components are told. Virtual
recordings are of `crossing` motion; the real ones come with their own calibration, whose error is
not known. Thresholds were set on the development seeds.
"""
SEEDS, SEEDS_DEV = (101,), (1,)
PATIENTS = (("spine", "convex"), ("long_bone", "linear"), ("brain", "phased"))
LATENCIES_S = (0.0, 0.04, 0.12)
ERRORS = ((0.0, 0.0), (2.0, 2.0), (4.0, 4.0))
TANK_PIXEL_MM = 0.15  # not recorded; the latency does not depend on it
Row = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> None:
    run = parse_run(__doc__, arguments)
    use_one_thread()
    latencies = [row for rows in virtual_latencies(run) for row in rows]
    write_table("calibration_latency", [*latencies, tank_row()], LATENCY_NOTE, run.results)
    checks = [row for rows in virtual_checks(run) for row in rows]
    write_table("calibration_check", [*checks, *real_checks()], CHECK_NOTE, run.results)


def virtual_latencies(run: Run) -> Iterator[list[Row]]:
    seeds = (SEEDS_DEV if run.dev else SEEDS)[: 1 if run.fast else None]
    for scene, probe in PATIENTS[: 1 if run.fast else None]:
        for seed in seeds:
            yield latency_rows(scene, probe, seed, "there and back", THERE_AND_BACK, LATENCIES_S)
        yield latency_rows(scene, probe, seeds[0], "one way", ONE_WAY, (0.04,))


def latency_rows(
    scene: str, probe: str, seed: int, name: str, motion: Motion, latencies_s: tuple[float, ...]
) -> list[Row]:
    made = scan(scene, probe, seed, motion)
    rows = []
    for latency_s in latencies_s:
        tracker = TrackerSettings()
        events = made.events(latency_s, tracker, np.eye(4))
        started = time.process_time()
        estimate = estimate_latency(read_recording(events))
        rows.append(latency_row(f"{scene}, {name}", probe, seed, latency_s, estimate))
        rows[-1]["CPU s"] = time.process_time() - started
        print(rows[-1], flush=True)
    return rows


def latency_row(
    recording: str, probe: str, seed: object, true_s: float, estimate: LatencyEstimate
) -> Row:
    found = {
        each.method: f"{'(' if each.doubt else ''}{1e3 * each.latency_s:.1f} "
        f"± {1e3 * each.error_s:.1f}{')' if each.doubt else ''}"
        for each in estimate.evidence
    }
    known = estimate.known
    return {
        "recording": recording,
        "probe": probe,
        "seed": seed,
        "true": round(1e3 * true_s, 1),
        "estimate": f"{1e3 * estimate.latency_s:.1f}" if known else "refused",
        "error": f"{1e3 * (estimate.latency_s - true_s):+.1f}" if known else "-",
        "std. error": f"{1e3 * estimate.error_s:.1f}" if known else "-",
        **found,
        "CPU s": 0.0,
    }


def tank_row() -> Row:
    started = time.process_time()
    tried = [estimate_latency(read_recording(tank_events(sign))) for sign in (1.0, -1.0)]
    # Up and down are not known either; the one that explains the images better is taken.
    best = max(tried, key=lambda each: max(one.score for one in each.evidence))
    row = latency_row("water tank (PLUS)", "linear", "-", 0.0648266, best)
    return row | {"CPU s": time.process_time() - started}


def tank_events(sign: float) -> list[AcquisitionEvent]:
    folder = data_dir() / "plus" / "watertank"
    video = read_plus_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha")
    tracker = read_plus_sequence(folder / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha")
    poses = []
    for frame in tracker.frames:
        try:
            T_reference_tracker = np.linalg.inv(frame.transforms["Reference", "Tracker"])
            T = T_reference_tracker @ frame.transforms["Probe", "Tracker"]
        except KeyError:
            continue
        poses.append(PoseEvent(frame.stamp_ns, T))
    places = np.array([pose.T_parent_child[:3, 3] for pose in poses])
    main_direction = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)[2][0]
    y = sign * poses[0].T_parent_child[:3, :3].T @ main_direction
    z = np.cross(y, np.eye(3)[np.abs(y).argmin()])
    z /= np.linalg.norm(z)
    T_probe_transducer = np.eye(4)
    T_probe_transducer[:3, :3] = np.column_stack([np.cross(y, z), y, z])
    images = [ImageEvent(f.stamp_ns, f.image) for f in video.frames if f.image is not None]
    rows, columns = images[0].image.shape
    geometry = ProbeGeometry.linear(
        columns * TANK_PIXEL_MM, rows * TANK_PIXEL_MM, columns, rows
    )  # fmt: skip
    return [
        GeometryEvent(0, geometry),
        PoseEvent(0, T_probe_transducer, "probe", "transducer", static=True),
        *sorted([*poses, *images], key=lambda event: event.stamp_ns),
    ]


def virtual_checks(run: Run) -> Iterator[list[Row]]:
    seeds = (SEEDS_DEV if run.dev else SEEDS)[:1]
    for scene, probe in PATIENTS[: 1 if run.fast else None]:
        for seed in seeds:
            made = scan(scene, probe, seed, CROSSING)
            rows = []
            for number, (size_mm, size_deg) in enumerate(ERRORS):
                rng = np.random.default_rng([seed, number, 8])
                T_error = random_rigid(size_mm, size_deg, rng) if size_mm else np.eye(4)
                recording = read_recording(made.events(0.0, TrackerSettings(), T_error))
                report = check_probe(recording)
                rows.append(check_row(scene, probe, seed, recording, report, T_error))
                print(rows[-1], flush=True)
            yield rows


def real_checks() -> list[Row]:
    plus = data_dir() / "plus"
    nwire = read_plus_recording(
        plus / "nwire" / "NwirePhantomFreehand.igs.mha",
        plus / "nwire" / "PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml",
    )
    leg = read_leg_recording(data_dir() / "ultrabones_leg")
    wide = AssemblerSettings(max_pose_gap_s=0.6)  # poses are known at the images' times alone
    rows = []
    for name, events in (("N-wires (PLUS)", nwire.events()), ("leg", leg.events())):
        recording = read_recording(events, wide)
        rows.append(check_row(name, str(recording.geometry.kind), "-", recording,
                              check_probe(recording), None))  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def check_row(
    name: str, probe: str, seed: object, recording: Recording, report: ProbeReport,
    T_error: Matrix4 | None,
) -> Row:  # fmt: skip
    points = np.pad(recording.points_mm[recording.inside], ((0, 0), (0, 1)))
    correction = report.correction
    verdicts = {check.name: str(check.verdict) for check in report.checks}
    off = left = "unknown" if T_error is None else "-"
    if T_error is not None:
        off = f"{moved_mm(T_error, points):.2f}"
        if correction is not None:
            left = f"{moved_mm(T_error @ correction.T_transducer_corrected, points):.2f}"
    known = correction is not None and correction.told > 0
    return {
        "recording": name,
        "probe": probe,
        "seed": seed,
        "off": off,
        "found": f"{correction.size_mm:.2f} ± {correction.error_mm:.2f}" if known else "-",
        "left": left,
        "told": correction.told if correction is not None else 0,
        "correlation": f"{correction.before:.3f} to {correction.after:.3f}" if known else "-",
        "calibration": verdicts["calibration"],
        "mirrored": verdicts["mirrored"],
        "timing": verdicts["timing"],
    }


def moved_mm(T: Matrix4, points_mm: np.ndarray) -> float:
    return float(np.sqrt(((transform_points(T, points_mm) - points_mm) ** 2).sum(axis=1).mean()))


if __name__ == "__main__":
    main()
