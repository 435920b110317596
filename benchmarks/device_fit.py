"""How well the settings of a scanner are estimated from a recording, and what that is worth.

python -m benchmarks.device_fit [--fast] [--dev] [--pictures FOLDER]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arguments import Run, parse_run
from benchmarks.resect24 import patient
from benchmarks.tables import write_table
from us_recon.acoustics.device_fit import DeviceFit, agreement, fit_device, observe
from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.mri_map import acoustic_volume_from_mri
from us_recon.acoustics.resolution_fit import band_depths_mm, beam_width_mm
from us_recon.acoustics.settings import UNKNOWN_PROBE_MHZ, RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.evaluation.registration_figure import panel_figure
from us_recon.geometry.rigid import Matrix4, invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.cell import CellSettings, make_cell

NOTE = """
Every recording is split: the even frames fit the device, at the defaults of `us-recon fit-device`;
the odd ones are measured with the settings before (the defaults) and after. Both images are
averaged in cells of 2.5 mm, where both show something. `difference`: mean absolute difference of
brightness, 0 black to 1 white; `offset`: expected less measured.

`renderer`: the recording was made by the renderer itself, with speckle, for a device with another
gain (-5 dB), time gain (slope, and sliders of up to 3 dB), attenuation (x 1.25), edges (+6 dB),
pulse and beam; `time gain`: largest error of gain and time gain over 2 mm to the end, dB; `pulse`
and `beam`: largest relative errors. `scanner`: the virtual scanner, which shares no model with the
renderer, on the virtual brain. `patient`: RESECT case 24 at the landmarks' rigid pose; its frames
are cut out of a compounded volume, whose speckle is averaged and whose dynamic range is unknown.
The weight of the cells against what is thought likely was set while looking at the scanner's
development seed. Time: CPU of the fit, one thread.
"""
SEED, SEED_DEV = 300, 0
IMAGE_RATE_HZ = 1.0
OTHER = replace(
    RenderSettings(),
    speckle=True,
    seed=5,
    gain_db=20.0,
    compensation_db_cm_mhz=0.0,
    tgc_db_cm=7.0,
    tgc_sliders_db=(0.0, 2.0, -2.0, 1.0, 3.0, -1.0, -3.0, 0.0),
    attenuation_scale=1.25,
    edge_db=6.0,
    pulse_mm=0.7,
    beam_mm=1.0,
    focus_mm=25.0,
    spread_mm=20.0,
)


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames, and the patient they show."""

    frames: list[TrackedFrame]
    volume: AcousticVolume
    T_world_volume: Matrix4


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit every recording and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    rows, pictures = [], []
    for kind in (ProbeKind.CONVEX,) if run.fast else tuple(ProbeKind):
        scanned = brain(run, kind)
        rendered = replace(scanned, frames=[redrawn(scanned, each) for each in scanned.frames])
        for name, recording in (("renderer", rendered), ("scanner", scanned)):
            row, found = measured_row(f"{name}, {kind}", recording)
            rows.append(row | errors(found, recording) if name == "renderer" else row | NO_ERRORS)
            pictures.append(panels(name, recording, found))
    for contrast in ("T1",) if run.fast else ("T1", "FLAIR"):
        case = patient()
        volume = acoustic_volume_from_mri(case.mris[contrast], contrast.lower())
        recording = Recording(case.frames, volume, case.T_landmarks)
        row, found = measured_row(f"patient, {contrast}", recording)
        rows.append(row | NO_ERRORS)
        pictures.append(panels(f"patient, {contrast}", recording, found))
    write_table("device_fit", rows, NOTE, run.results)
    if run.pictures:
        write_pictures(run.pictures, pictures)


def brain(run: Run, kind: ProbeKind) -> Recording:
    """Scan a virtual brain."""
    cell = make_cell(
        "brain",
        kind,
        seed=SEED_DEV if run.dev else SEED,
        settings=CellSettings(image_rate_hz=IMAGE_RATE_HZ, threads=1),
    )
    volume = acoustic_volume_from_mri(cell.mri, "t1")
    return Recording(list(cell.tracked_frames()), volume, cell.T_world_mri)


def redrawn(recording: Recording, frame: TrackedFrame) -> TrackedFrame:
    """Return the frame as the renderer draws it for another device."""
    T = invert_rigid(recording.T_world_volume) @ frame.T_world_transducer
    return replace(frame, image=expected_image(recording.volume, T, frame.geometry, OTHER).image)


def measured_row(name: str, recording: Recording) -> tuple[dict[str, object], DeviceFit]:
    """Fit the even frames, and compare the odd ones before and after."""
    pose = recording.T_world_volume
    started = time.process_time()
    found = fit_device(recording.frames[::2], recording.volume, pose)
    seconds = time.process_time() - started
    held_out = observe(recording.frames[1::2], recording.volume, pose)
    before, after = (agreement(held_out, each) for each in (RenderSettings(), found.settings))
    fitted = found.settings
    return {
        "recording": name,
        "cells": after.cells,
        "correlation before": before.correlation,
        "after": after.correlation,
        "difference before": before.difference,
        "difference after": after.difference,
        "offset before": before.offset,
        "offset after": after.offset,
        "attenuation x": fitted.attenuation_scale,
        "pulse mm": fitted.pulse_mm,
        "beam mm": fitted.beam_mm,
        "CPU s": seconds,
    }, found


NO_ERRORS: dict[str, object] = {"time gain error dB": "-", "pulse error": "-", "beam error": "-"}


def errors(found: DeviceFit, recording: Recording) -> dict[str, object]:
    """Return by how much the device is missed that made the images."""
    probe, fitted = recording.frames[0].geometry, found.settings
    depth_cm = np.linspace(0.2, probe.depth_mm / 10.0, 100)
    missed_db = time_gain_db(fitted, probe, depth_cm) - time_gain_db(OTHER, probe, depth_cm)
    bands_mm = band_depths_mm(probe)
    beam = beam_width_mm(fitted, bands_mm) / beam_width_mm(OTHER, bands_mm) - 1.0
    return {
        "time gain error dB": float(np.abs(missed_db).max()),
        "pulse error": abs(fitted.pulse_mm / OTHER.pulse_mm - 1.0),
        "beam error": float(np.abs(beam).max()),
    }


def time_gain_db(
    settings: RenderSettings, probe: ProbeGeometry, depth_cm: np.ndarray
) -> np.ndarray:
    """Return gain and time gain at depths."""
    at = np.linspace(0.0, probe.depth_mm / 10.0, len(settings.tgc_sliders_db))
    sliders = np.interp(depth_cm, at, settings.tgc_sliders_db)
    made_good = 2.0 * settings.compensation_db_cm_mhz * (settings.frequency_mhz or probe_mhz(probe))
    return np.asarray(settings.gain_db + (settings.tgc_db_cm + made_good) * depth_cm + sliders)


def probe_mhz(probe: ProbeGeometry) -> float:
    """Return the frequency that settings take which leave it open."""
    return probe.centre_frequency_mhz or UNKNOWN_PROBE_MHZ


def panels(name: str, recording: Recording, found: DeviceFit) -> np.ndarray:
    """Draw a frame that was not fitted beside what is expected before and after."""
    frame = recording.frames[1::2][len(recording.frames) // 4]
    T = invert_rigid(recording.T_world_volume) @ frame.T_world_transducer
    shown = [("measured: " + name, frame.image)]
    speckled = replace(found.settings, speckle=True)
    for title, settings in (
        ("before", RenderSettings()), ("after", found.settings), ("with speckle", speckled)
    ):  # fmt: skip
        image = expected_image(recording.volume, T, frame.geometry, settings).image
        shown.append((f"expected, {title}", image))
    return panel_figure([shown])


def write_pictures(folder: Path, pictures: list[np.ndarray]) -> None:
    """Write one picture for each recording."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"device_fit_{number}.png"), picture[..., ::-1])


if __name__ == "__main__":
    main()
