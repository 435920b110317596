"""Train the learned bone detector on virtual patients and write its weights into the package.

python scripts/train_bone_detector.py    # some ten minutes on two idle cores

The patients are of seeds that no set of the benchmarks has (see `benchmarks.sets`), and their
anatomy, probes, sweeps and scanners are drawn far wider than there.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeKind
from us_recon.occupancy.bone_network import save
from us_recon.occupancy.bone_training import TrainingImage, train, training_image
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.catalogue import make_patient
from us_recon.simulation.cell import CellSettings, ScanningCell
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scanner.imager import ImagerSettings
from us_recon.simulation.scanner.probes import back_probe, general_probe, superficial_probe

FIRST_SEED, CELLS, IMAGES = 20_000, 23, 22
SEEDS = range(FIRST_SEED, FIRST_SEED + CELLS)
PROBES = {
    "spine": (back_probe, general_probe, back_probe),
    "long_bone": (superficial_probe, superficial_probe, general_probe),
}


def main() -> None:
    """Scan the patients, train, and write the weights."""
    use_one_thread()
    images = [image for seed in SEEDS for image in training_images(seed)]
    save(train(images))


def training_images(seed: int) -> Iterator[TrainingImage]:
    """Yield some images of one virtual patient; none if the drawn sweep leaves it."""
    try:
        cell = training_cell(seed)
    except ConfigError:
        return
    draw = np.random.default_rng([seed, 31])
    count = min(IMAGES, cell.image_count)
    for number in sorted(draw.choice(cell.image_count, count, replace=False).tolist()):
        image, label = cell.image_event(number).image, cell.label_event(number).label
        yield training_image(image, label, cell.geometry)


def training_cell(seed: int) -> ScanningCell:
    """Draw patient, probe, sweep and scanner; two of three patients are spines."""
    draw = np.random.default_rng([seed, 30])
    scene = "long_bone" if seed % 3 == 2 else "spine"
    kind = tuple(ProbeKind)[seed // 3 % 3]
    probe = PROBES[scene][int(draw.integers(3))](kind)
    sweep = _spine_sweep(draw) if scene == "spine" else _limb_sweep(draw)
    return ScanningCell(
        make_patient(scene, seed, _patient(scene, draw)),
        replace(
            probe, beam=replace(probe.beam, focus_mm=probe.beam.focus_mm * draw.uniform(0.8, 1.2))
        ),
        sweep,
        settings=CellSettings(image_rate_hz=2.0, label_every=1),
        imager=_scanner(draw),
        seed=seed,
    )


def _patient(scene: str, draw: np.random.Generator) -> dict[str, Any]:
    def between(low: float, high: float) -> float:
        return round(float(draw.uniform(low, high)), 2)

    if scene == "spine":
        scale = between(0.85, 1.15)
        return {
            "scale": scale,
            "spacing_mm": round(37.0 * scale, 2),
            "process_length_mm": between(17.0, 31.0),
            "transverse_span_mm": between(70.0, 98.0),
            "fat_mm": between(2.0, 14.0),
            "skin_mm": between(1.0, 3.0),
            "lordosis_deg": between(0.0, 9.0),
        }
    return {
        "radius_mm": between(6.0, 14.0),
        "end_radius_mm": between(14.0, 24.0),
        "crest": between(0.0, 0.8),
        "cover_mm": between(5.0, 26.0),
        "limb_radius_mm": between(46.0, 60.0),
        "fat_mm": between(1.5, 8.0),
        "skin_mm": between(0.8, 2.5),
    }


def _spine_sweep(draw: np.random.Generator) -> SweepSettings:
    return SweepSettings(
        sweep="raster",
        length_mm=60.0,
        lanes=3,
        lane_spacing_mm=float(draw.uniform(12.0, 22.0)),
        slant_deg=float(draw.uniform(-8.0, 8.0)),
        turn_deg=float(draw.choice([0.0, 0.0, draw.uniform(-40.0, 40.0), 90.0])),
        press_mm=float(draw.uniform(0.0, 1.5)),
    )


def _limb_sweep(draw: np.random.Generator) -> SweepSettings:
    return SweepSettings(
        length_mm=150.0,
        speed_mm_s=12.0,
        slant_deg=float(draw.uniform(-10.0, 10.0)),
        rock_deg=float(draw.uniform(0.0, 12.0)),
        turn_deg=float(draw.choice([0.0, 0.0, draw.uniform(-40.0, 40.0), 90.0])),
        press_mm=float(draw.uniform(0.0, 1.5)),
    )


def _scanner(draw: np.random.Generator) -> ImagerSettings:
    return ImagerSettings(
        gain_db=float(draw.uniform(-6.0, 6.0)),
        tgc_sliders_db=tuple(draw.uniform(-4.0, 4.0, 8).tolist()),
        tgc_db_cm_mhz=float(draw.uniform(0.4, 0.75)),
        noise_db=float(draw.uniform(-65.0, -48.0)),
        dynamic_range_db=float(draw.uniform(50.0, 72.0)),
        reflector_db=float(draw.uniform(46.0, 58.0)),
        reverberation=float(draw.uniform(0.0, 0.06)),
        clutter_db=float(draw.uniform(-16.0, 2.0)),
        clutter_mm=float(draw.uniform(3.0, 8.0)),
    )


if __name__ == "__main__":
    main()
