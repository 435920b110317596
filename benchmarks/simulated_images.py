"""Speed of the virtual scanner, its physics against what was asked, and pictures to look at.

python -m benchmarks.simulated_images [--pictures docs/images]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.tables import write_table
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.simulation.catalogue import PATIENTS
from us_recon.simulation.cell import ScanningCell, make_cell
from us_recon.simulation.imager import Imager, ImagerSettings
from us_recon.simulation.phantoms import Phantom
from us_recon.simulation.scene import Interface, on_grid

IMAGES = 40
SEED = 2
PICTURE_HEIGHT_PX = 330
GREY_LEVELS = 24  # speckle hardly compresses: fewer levels keep the pictures small
QUIET = ImagerSettings(noise_db=-150.0, ring_down_db=-150.0, reverberation=0.0)
LINEAR = ProbeGeometry.linear(
    38.4, 60.0, 307, 480, beam_count=192, sample_count=512, centre_frequency_mhz=5.0
)


def main() -> None:
    """Measure, write both tables and, where asked, the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=None, help="folder of the pictures")
    pictures = parser.parse_args().pictures
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = []
    for scene in (name for name in PATIENTS if name != "volume"):
        strips = []
        for probe in ProbeKind:
            cell = make_cell(scene, probe.value, SEED)
            rows.append(speed_row(cell, scene, probe.value))
            strips.append(picture(cell))
        if pictures:
            write_picture(pictures / f"simulated_{scene}.png", np.hstack(strips))
    note = (
        f"One image of 192 beams x 512 samples with scan conversion, {IMAGES} images of one sweep "
        "each, CPU time on one thread (NumPy, SciPy, torch and OpenCV at one). The grid of the "
        "patient is made once per cell. Asked for: at most 60 ms."
    )
    write_table("simulated_images", rows, note)
    write_table(
        "simulated_physics",
        physics_rows(),
        "What the virtual scanner was told, and what its images say. Nothing was fitted: the "
        "figures follow from the settings and the tissue table.",
    )


def speed_row(cell: ScanningCell, scene: str, probe: str) -> dict[str, object]:
    """Return the time per image of one cell."""
    started = time.process_time()
    imager = cell.imager
    preparing_s = time.process_time() - started
    numbers = np.linspace(0, cell.image_count - 1, IMAGES).astype(int)
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
        "pixels": f"{cell.geometry.width_px}x{cell.geometry.height_px}",
        "median ms": float(np.median(times_ms)),
        "fastest ms": float(np.min(times_ms)),
        "95th percentile ms": float(np.percentile(times_ms, 95)),
        "grid s": preparing_s,
        "sweep s": cell.duration_s,
    }


def physics_rows() -> list[dict[str, object]]:
    """Return what was asked of the scanner beside what it does."""
    uniform = views(Imager(on_grid(Phantom(), 5.0, 2.0), LINEAR, QUIET, seed=3))
    part = uniform[..., 100:400]
    part = part / np.sqrt((part**2).mean(axis=(0, 1)))
    rows = [row("speckle SNR (Rayleigh)", 1.913, part.mean() / part.std())]
    no_gain = replace(QUIET, tgc_db_cm_mhz=0.0)
    for asked in (0.3, 0.5, 0.7):
        lossy = views(Imager(on_grid(Phantom(asked), 5.0, 2.0), LINEAR, no_gain))
        level_db = 10.0 * np.log10((lossy**2).mean(axis=(0, 1)))
        depth_cm = LINEAR.sample_depths_mm / 10.0
        slope = np.polyfit(depth_cm[50:460], level_db[50:460], 1)[0]
        rows.append(row("attenuation, dB/cm/MHz", asked, -slope / 10.0))
    rows += [width_row(depth_mm) for depth_mm in (15.0, 30.0, 50.0)]
    bone = Interface("bone", 0.6, roughness=0.0, patchiness_db=0.0, blocks=True)
    phantom = Phantom(0.6, plate=bone, plate_thickness_mm=4.0)
    behind = views(Imager(on_grid(phantom, 5.0), LINEAR, QUIET))[..., 300:]
    contrast_db = -10.0 * np.log10((behind**2).mean())
    # 4 mm of 6.9 dB/cm/MHz at 5 MHz, there and back, less that of tissue, and two faces.
    rows.append(row("shadow of 4 mm bone, dB", 27.6 - 2.4 + 2 * 3.88, contrast_db))
    return rows


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


def views(imager: Imager, count: int = 8) -> np.ndarray:
    """Return envelopes of independent speckle."""
    found = []
    for number in range(count):
        T = np.eye(4)
        T[2, 3] = 6.0 * number - 20.0
        found.append(10.0 ** (imager.beams_db(T)[8:-8] / 20.0))
    return np.stack(found)


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
