"""Lesions mapped from masks, which sound passes: the whole wall and not the near face alone.

python -m benchmarks.organ_mapping [--fast] [--dev] [--pictures FOLDER]
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from benchmarks.arguments import Run, parse_run
from benchmarks.beside_truth import draw_beside_truth
from benchmarks.cases import Case, column, median, of, write_cases
from benchmarks.mapping_methods import by_mapper
from benchmarks.measure import measured
from benchmarks.naive_occupancy import naive_occupancy
from benchmarks.sets import BRAIN_SWEEP, PROBES, SPINE_SETS, TRACKER, MappingCase, scanner
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.evaluation.pictures import BONE_RGB, Painted
from us_recon.occupancy.views import View
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.cell import CellSettings, make_cell

EVERY = (1, 5, 20)
CELL = CellSettings(image_rate_hz=10.0, label_every=1)
SIZE_PX = (320, 320)
LOOKS = ((0.3, 0.9, 0.2), (-0.9, -0.3, 0.2))  # along the sound and from the side


METHODS = {
    "TSDF, organ": by_mapper(target="organ", method="tsdf"),
    "log-odds voxels, organ": by_mapper(target="organ", method="log_odds"),
    "TSDF, organ, slices of up to 6 mm": by_mapper(
        surfaces="label", target="organ", method="tsdf", half_thickness_mm=6.0
    ),
    "field, organ": by_mapper(target="organ", method="field"),
    "TSDF, bone": by_mapper(surfaces="label", target="bone", method="tsdf"),
    "naive occupancy": naive_occupancy,
}

NOTE = """
Lesions in virtual brains, solid and cystic in turn, of the seeds {seeds}, each with its own shape
and probe; one fan sweep, tracked with noise and a calibration error. A mask marks the lesion's
inside in every, every 5th or every 20th image (about {apart} of the images show it). Medians over
the patients; no surface counts as infinitely far.

Distances go from all of the mesh to the nearest true surface (median, 95th percentile), and back
from the part of the lesion's wall that lies within 2 mm of an image.

- `organ`: the mapper with `target:=organ`, distances in the image plane in all directions. The
  `field` learns from all images what the lesion looks like, and fills in between labelled ones.
- `slices of up to 6 mm`: `half_thickness_mm` of 6 in place of 3, for labels that lie far apart.
- `bone`: the same masks taken for what throws a shadow: the first wall along each beam.
- `naive occupancy`: feature grids and a network fitted to the masks, as in `spine_mapping`.

CPU: of one thread per image, meshing included.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map all lesions by all methods and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(SPINE_SETS["spine-k1"], fast_count=2)
    cases = [case for seed in seeds for case in of_patient(seed, run)]
    rows = [
        {"labels": name, "method": method, **row(of(cases, labels=name, method=method))}
        for name in dict.fromkeys(str(case["labels"]) for case in cases)
        for method in METHODS
    ]
    shown = np.mean(
        [frame.label.any() for frame in scan(seeds[0]).frames if frame.label is not None]
    )
    note = NOTE.format(seeds=", ".join(map(str, seeds)), apart=f"{shown:.0%}")
    write_cases("organ_mapping", cases, run.results)
    write_table("organ_mapping", rows, note, run.results)


def of_patient(seed: int, run: Run) -> list[Case]:
    """Return the figures of all methods on one lesion."""
    case = scan(seed)
    truth = TrueSurface(case.truth, case.views, sound_passes=True)
    cases: list[Case] = []
    for every in EVERY:
        frames = [
            frame if number % every == 0 else replace(frame, label=None)
            for number, frame in enumerate(case.frames)
        ]
        labels = "every" if every == 1 else f"every {every}th"
        meshes = []
        for method, mapping in METHODS.items():
            result = measured(lambda mapping=mapping, frames=frames: mapping(frames))
            seen, _ = truth.scores(result.value)
            meshes.append(result.value)
            cases.append(
                {
                    "seed": seed,
                    "labels": labels,
                    "method": method,
                    **distances(seen),
                    "ms / frame": 1e3 * result.cpu_s / len(frames),
                    "empty": result.value.is_empty,
                }
            )
            print(cases[-1], flush=True)
        if run.pictures is not None:
            painted = [Painted(mesh, BONE_RGB) for mesh in meshes]
            picture = run.pictures / f"organ_{seed}_{every}.png"
            draw_beside_truth(picture, case, painted, LOOKS, SIZE_PX)
    return cases


@lru_cache(maxsize=1)
def scan(seed: int) -> MappingCase:
    """Simulate one sweep over one lesion."""
    patient = {"lesion": ("solid", "cystic")[seed % 2]}
    cell = make_cell(
        "brain", PROBES[seed % 3], seed, BRAIN_SWEEP, TRACKER, CELL, scanner(seed), patient
    )
    views = [View(T, cell.geometry) for T in cell.T_world_transducer]
    return MappingCase(list(cell.tracked_frames()), cell.true_meshes()["lesion"], views)


def row(cases: Sequence[Case]) -> dict[str, object]:
    """Return medians over the patients."""
    names = ("Chamfer mm", "HD95 mm", "median mm", "p95 mm", "truth to mesh mm", "complete 2 mm")
    return {
        "patients": len(cases),
        **{name: median(cases, name) for name in names},
        "ms / frame": median(cases, "ms / frame"),
        "empty": int(column(cases, "empty").sum()),
    }


if __name__ == "__main__":
    main()
