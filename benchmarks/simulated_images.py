"""Speed of the virtual scanner, its physics against what was asked, and pictures to look at.

python -m benchmarks.simulated_images [--fast] [--pictures docs/images]
"""

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.tables import write_table
from us_recon.imaging.events import ImageEvent
from us_recon.imaging.probe import ProbeKind
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.catalogue import PATIENTS, make_patient
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.phantoms import SOFT_PLATE, Phantom
from us_recon.simulation.scanner.imager import Imager, ImagerSettings
from us_recon.simulation.scene import on_grid
from us_recon.simulation.testbench import (
    BONE,
    GAS,
    LINEAR,
    NO_GAIN,
    QUIET,
    mean_db,
    plate,
    samples,
    several_views,
)

IMAGES = 40
FAST_SCENES = ("spine",)
PACE_SCENES = ("spine", "brain", "liver")
PACE_NOTE = """
A cell with a convex probe and default settings at 30 images and 100 poses a second: how fast its
events come with two images made at once, on two cores. More than 30 images a second is faster than
real time.
"""
VIEWS = 8
SEED = 2
PICTURE_HEIGHT_PX = 330
GREY_LEVELS = 24  # speckle hardly compresses: fewer levels keep the pictures small
ALL_ON = ImagerSettings(
    compression_mm=3.0,
    gain_db=2.0,
    tgc_sliders_db=(-2.0, 0.0, 1.0, 0.0, 0.0, 2.0, 2.0, 3.0),
    saturation_db=-3.0,
)


def main() -> None:
    """Measure, write both tables and, where asked, the pictures."""
    run = parse_run(__doc__)
    use_one_thread()
    images = 5 if run.fast else IMAGES
    rows = []
    scenes = FAST_SCENES if run.fast else [name for name in PATIENTS if name != "volume"]
    for scene in scenes:
        strips = []
        for probe in [ProbeKind.CONVEX] if run.fast else ProbeKind:
            cell = make_cell(scene, probe.value, SEED)
            rows.append(speed_row(cell, scene, probe.value, "default", images))
            strips.append(picture(cell))
            rows.append(speed_row(all_on(scene, probe), scene, probe.value, "all on", images))
        if run.pictures:
            write_picture(run.pictures / f"simulated_{scene}.png", np.hstack(strips))
    note = (
        f"One image of 192 beams x 512 samples with scan conversion, {images} images of one sweep\n"
        "each, CPU time on one thread. The grid of the patient is made once per cell. With all\n"
        "effects on, the face also compresses the tissue by 3 mm, amplifier, gain and sliders are\n"
        "set, and what blocks leaves a dirty shadow as gas does. Asked for: at most 60 ms."
    )
    write_table("simulated_images", rows, note, run.results)
    write_table(
        "simulated_pace",
        [pace_row(scene, run.fast) for scene in (FAST_SCENES if run.fast else PACE_SCENES)],
        PACE_NOTE,
        run.results,
    )
    write_table(
        "simulated_physics",
        physics_rows(),
        "What the virtual scanner was told, and what its images say. Nothing was fitted: the\n"
        "figures follow from the settings and the tissue table.",
        run.results,
    )


def pace_row(scene: str, fast: bool) -> dict[str, object]:
    """Return how fast a cell's events come, beside the time that they stand for."""
    seconds = 3.0 if fast else 20.0
    rate_hz = 30.0
    cell = make_cell(scene, "convex", SEED, settings=CellSettings(image_rate_hz=rate_hz))
    assert cell.imager  # the grid is made once per cell, whatever its length
    wanted = round(seconds * rate_hz)
    images = 0
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    for event in cell.events():
        images += isinstance(event, ImageEvent)
        if images == wanted:
            break
    wall_s, cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    return {
        "scene": scene,
        "images": images,
        "images / s": images / wall_s,
        "CPU ms / image": 1e3 * cpu_s / images,
        "10 min at 30 Hz take min": 10.0 * wall_s / (images / rate_hz),
    }


def all_on(scene: str, probe: ProbeKind) -> ScanningCell:
    """Return a cell with every effect on: its bone is given the dirty shadow of gas too."""
    patient, kind = make_patient(scene, SEED), PATIENTS[scene]
    sweep = replace(kind.sweep, press_mm=ALL_ON.compression_mm)
    cell = ScanningCell(patient, kind.probe(probe), sweep, imager=ALL_ON, seed=SEED)
    dirty = [replace(each, haze_db=0.0) if each.blocks else each for each in patient.interfaces]
    cell.__dict__["grid"] = replace(cell.grid, interfaces=tuple(dirty))
    return cell


def speed_row(
    cell: ScanningCell, scene: str, probe: str, effects: str, images: int
) -> dict[str, object]:
    """Return the time per image of one cell."""
    started = time.process_time()
    imager = cell.imager
    preparing_s = time.process_time() - started
    numbers = np.linspace(0, cell.image_count - 1, images).astype(int)
    poses = cell.trajectory.poses(cell.image_times_s[numbers])
    imager.image(poses[0])
    times_ms = []
    for number, T in enumerate(poses):
        started = time.process_time()
        imager.image(T, number)
        times_ms.append(1000.0 * (time.process_time() - started))
    return {
        "scene": scene,
        "probe": probe,
        "effects": effects,
        "pixels": f"{cell.geometry.width_px}x{cell.geometry.height_px}",
        "median ms": float(np.median(times_ms)),
        "fastest ms": float(np.min(times_ms)),
        "95th percentile ms": float(np.percentile(times_ms, 95)),
        "grid s": preparing_s,
        "sweep s": cell.duration_s,
    }


def physics_rows() -> list[dict[str, object]]:
    """Return what was asked of the scanner beside what it does."""
    uniform = several_views(Imager(plate(2.0), LINEAR, QUIET, seed=3), VIEWS)[:, 8:-8, 100:400]
    uniform = uniform / np.sqrt((uniform**2).mean(axis=(0, 1)))
    rows = [row("speckle SNR (Rayleigh)", 1.913, uniform.mean() / uniform.std())]
    for asked in (0.3, 0.5, 0.7):
        lossy = plate(2.0, attenuation_db_cm_mhz=asked)
        views = several_views(Imager(lossy, LINEAR, NO_GAIN), VIEWS)[:, 8:-8]
        level_db = 10.0 * np.log10((views**2).mean(axis=(0, 1)))
        depth_cm = LINEAR.sample_depths_mm / 10.0
        slope = np.polyfit(depth_cm[50:460], level_db[50:460], 1)[0]
        rows.append(row("attenuation, dB/cm/MHz", asked, -slope / 10.0))
    rows += [width_row(depth_mm) for depth_mm in (15.0, 30.0, 50.0)]
    shadow = plate(plate=BONE, plate_thickness_mm=4.0, attenuation_db_cm_mhz=0.6)
    behind = several_views(Imager(shadow, LINEAR, QUIET), VIEWS)[:, 8:-8, 300:]
    # 4 mm of 6.9 dB/cm/MHz at 5 MHz, there and back, less that of tissue, and two faces.
    rows.append(row("shadow of 4 mm bone, dB", 27.6 - 2.4 + 2 * 3.88, -mean_db(behind)))
    return [*rows, *artefact_rows()]


def artefact_rows() -> list[dict[str, object]]:
    """Return the levels and places of artefacts, asked and measured."""
    clear = {"backscatter_db": -80.0, "attenuation_db_cm_mhz": 0.0}
    ringing = replace(NO_GAIN, reverberation=0.5)
    bone = Imager(plate(plate=BONE, plate_depth_mm=12.0, **clear), LINEAR, ringing)
    level = bone.beams_db(np.eye(4))[60:130]
    lines = [
        np.median(level[:, samples(12.0 * n - 0.5, 12.0 * n + 0.5)].max(axis=1)) for n in (1, 2, 3)
    ]
    # The face (0.5) and the plate (0.6) take part once more: 20 log10(0.3).
    rows = [row(f"repeat {n} after {n - 1}, dB", -10.46, lines[n] - lines[n - 1]) for n in (1, 2)]
    gas = Imager(
        plate(plate=GAS, plate_depth_mm=20.0, plate_tissue="air", **clear), LINEAR, NO_GAIN
    )
    haze = several_views(gas, VIEWS)[:, 8:-8]
    fall = mean_db(haze[..., samples(44.5, 45.5)]) - mean_db(haze[..., samples(24.5, 25.5)])
    rows.append(row("haze behind gas, dB/cm", -10.0, fall / 2.0))
    fog = Imager(plate(2.0, **clear), LINEAR, replace(NO_GAIN, clutter_db=-5.0, clutter_mm=5.0))
    near = several_views(fog, VIEWS)[:, 8:-8]
    # 8.69 dB per 5 mm.
    rows.append(row("clutter at 3 mm, dB", -10.21, mean_db(near[..., samples(2.5, 3.5)])))
    rows.append(row("clutter at 15 mm, dB", -31.06, mean_db(near[..., samples(14.5, 15.5)])))
    pressed = replace(QUIET, compression_mm=5.0, compression_depth_mm=30.0)
    scene = plate(plate=replace(SOFT_PLATE, reflectivity=0.3))
    place = np.argmax(Imager(scene, LINEAR, pressed).beams_db(np.eye(4))[96])
    # y - 5 exp(-y / 30) = 25.
    rows.append(row("plate at 25 mm, pressed, mm", 27.03, float(place) * LINEAR.sample_step_mm))
    return [*rows, half_contact_row()]


def half_contact_row() -> dict[str, object]:
    """Return the loss of a beam that has half of its aperture in contact, there and back."""
    angle = np.radians(10.0)
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    T[1, 3] = -19.2 * np.sin(angle)
    scene = plate(2.0, attenuation_db_cm_mhz=0.0)
    level_db = []
    for settings in (NO_GAIN, replace(NO_GAIN, coupling_mm=3.0)):
        imager = Imager(scene, LINEAR, settings)
        views = []
        for z_mm in np.linspace(-30.0, 30.0, 25):
            T[2, 3] = z_mm
            # The gap is 3 mm at x = -1.92, between beams 85 and 86.
            views.append(np.abs(imager.echo_signal(T)[84:88, samples(23.0, 27.0)]))
        level_db.append(mean_db(np.stack(views)))
    return row("half of the aperture lifted, dB", -12.04, level_db[1] - level_db[0])


def width_row(depth_mm: float) -> dict[str, object]:
    """Return the lateral width of the point spread function by the speckle's correlation."""
    imager = Imager(on_grid(Phantom(), 5.0, 2.0), LINEAR, QUIET, seed=3)
    at = round(depth_mm / LINEAR.sample_step_mm)
    power = np.zeros(2 * LINEAR.beam_count)
    for number in range(8):
        T = np.eye(4)
        T[2, 3] = 6.0 * number - 20.0
        lines = imager.echo_signal(T)[:, at - 20 : at + 20]
        power += (np.abs(np.fft.fft(lines, n=power.size, axis=0)) ** 2).sum(axis=1)
    correlation = np.abs(np.fft.ifft(power))
    correlation /= correlation[0]
    beyond = int(np.argmax(correlation < 0.5))
    before, after = correlation[beyond - 1 : beyond + 1]
    width = 2.0 * (beyond - 1 + (before - 0.5) / (before - after)) * 0.2 / np.sqrt(2.0)
    asked = float(imager.beam.lateral_fwhm_mm(np.array([depth_mm]))[0])
    return row(f"lateral width at {depth_mm:.0f} mm, mm", asked, width)


def row(quantity: str, asked: float, measured: float) -> dict[str, object]:
    """Return one line of the table of the physics."""
    return {
        "quantity": quantity,
        "asked": float(asked),
        "measured": float(measured),
        "difference %": float(100.0 * (measured / asked - 1.0)),
    }


def picture(cell: ScanningCell) -> np.ndarray:
    """Return the image in the middle of a sweep, scaled."""
    image = cell.image_event(cell.image_count // 2).image
    scale = PICTURE_HEIGHT_PX / image.shape[0]
    size = (round(image.shape[1] * scale), PICTURE_HEIGHT_PX)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a small grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    step = 255.0 / (GREY_LEVELS - 1)
    coarse = np.round(np.round(picture / step) * step).astype(np.uint8)
    if not cv2.imwrite(str(path), coarse, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise SystemExit(f"{path} cannot be written")


if __name__ == "__main__":
    main()
