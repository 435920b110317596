"""Surfaces of simulated spines by all mapping methods, one table per set.

python -m benchmarks.spine_mapping [--fast] [--dev]
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, median, of, write_cases
from benchmarks.mapping_methods import (
    FIELD_METHODS,
    LEARNED_METHODS,
    MAPPING_METHODS,
    MappingMethod,
)
from benchmarks.measure import measured
from benchmarks.sets import SPINE_SETS, MappingCase, SpineSet
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.pipeline.threads import use_one_thread

METHODS = {**MAPPING_METHODS, **LEARNED_METHODS, **FIELD_METHODS}
FAST_SETS = ("spine-k5", "spine-k0")
NO_SURFACE = "no surface"
DISTANCES = (
    "Chamfer mm", "HD95 mm", "median mm", "p95 mm", "truth to mesh mm", "whole Chamfer mm",
)  # fmt: skip

NOTE = """
Set {name}, version {version}: {labels}.
Lumbar spines from the seeds {seeds}, each with its own shape and probe (linear, convex, phased in
turn), raster sweeps, tracked with noise and a calibration error. Medians over the patients; a
method that gives no mesh for a patient counts there as infinitely far, and one that never gives any
says "{none}".

Distances go from all of the mesh to the nearest true surface (median, 95th percentile), and back
from what the images could see of the truth (slices of 2 mm to either side, first along the beam, up
to 80 degrees) to the mesh (`truth to mesh`: mean). `Chamfer` is the mean of both mean distances,
`HD95` the larger of both 95th percentiles, `complete` the share of the visible truth that is within
2 mm of the mesh. Whatever a method makes up outside of what was seen counts as its error.
`whole Chamfer` goes back from all of the truth, of which most is never seen. Labels reach 3 mm
behind the visible face: a method that takes the rest for empty gives bone a back face, about 3 mm
inside; that is its error in `p95` and `HD95`, and `truth to mesh` is free of it.

- `labels only`: maps of the labelled frames alone; slices speak for up to 5 mm to either side.
- `+ detector`: the mapper at its defaults, with the bone detector on frames without a label.
- `+ learned detector`: the same with `detector:=both`, the rule and a network that was trained on
  other virtual patients of the same kind.
- `field`: the occupancy field on all frames, four steps each, with the detector on frames without a
  label, fused with log-odds voxels; balanced label loss, or the one of UltrON (`transmitted`).
- `naive occupancy`: feature grids of 8 to 1 mm and a network of two layers, fitted to the masks as
  they are (shadow is empty space), and kept within 3 mm of a labelled slice (5 and 8 mm changed
  nothing on a development patient).

CPU: of one thread per frame of the sweep, labelled or not, meshing included. Memory: peak above
what was resident before.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map all patients of all sets by all methods and write the tables."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    sets = [one for one in SPINE_SETS.values() if not run.fast or one.name in FAST_SETS]
    methods = MAPPING_METHODS if run.fast else METHODS  # a field takes longer than all the others
    cases: dict[str, list[Case]] = {one.name: [] for one in sets}
    for seed in run.seeds(sets[0]):  # one scan serves all sets
        truth: TrueSurface | None = None
        for one in sets:
            case = one.case(seed)
            truth = truth or TrueSurface(case.truth, case.views)
            for name, method in methods.items():
                cases[one.name].append({"seed": seed, "method": name, **tried(method, case, truth)})
                print(one.name, cases[one.name][-1], flush=True)
    for one in sets:
        rows = [row(name, of(cases[one.name], method=name)) for name in methods]
        name = one.name.replace("-", "_")
        write_cases(name, cases[one.name], run.results)
        write_table(name, rows, note(one, run.seeds(one)), run.results)


def tried(method: MappingMethod, case: MappingCase, truth: TrueSurface) -> Case:
    """Return the figures of one method on one patient."""
    result = measured(lambda: method(case.frames))
    visible, whole = truth.scores(result.value)
    return {
        **distances(visible),
        "whole Chamfer mm": distances(whole)["Chamfer mm"],
        "ms / frame": 1e3 * result.cpu_s / len(case.frames),
        "peak MiB": result.peak_mib,
        "empty": result.value.is_empty,
    }


def row(method: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return a method's medians over the patients."""
    empty = column(cases, "empty")
    figures: dict[str, object] = {
        key: NO_SURFACE if empty.all() else median(cases, key) for key in DISTANCES
    }
    return {
        "method": method,
        "patients": len(cases),
        **figures,
        "complete 2 mm": median(cases, "complete 2 mm"),
        "ms / frame": median(cases, "ms / frame"),
        "peak MiB": median(cases, "peak MiB"),
        "empty": int(np.sum(empty)),
    }


def note(one: SpineSet, seeds: Sequence[int]) -> str:
    """Return what a set's table is about."""
    every = f"a label on every {one.label_every} th frame" if one.label_every else "no labels"
    if one.label_every == 1:
        every = "a label on every frame"
    spoilt = {
        "clean": "",
        "half_missing": ", of which every second one is missing",
        "half_off": ", of which every second one lies 1.5 to 5 mm off",
    }[one.labels]
    return NOTE.format(
        name=one.name,
        version=one.version,
        labels=(every + spoilt).replace(" th", "th"),
        seeds=", ".join(map(str, seeds)),
        none=NO_SURFACE,
    )


if __name__ == "__main__":
    main()
