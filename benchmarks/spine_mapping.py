"""Surfaces of simulated spines by all mapping methods, one table per set.

python -m benchmarks.spine_mapping [--fast] [--dev]
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, column, median, of, write_cases
from benchmarks.mapping_methods import (
    LOOK_AGAIN_STEPS,
    METHODS,
    MappingMethod,
    with_detector,
)
from benchmarks.measure import measured
from benchmarks.sets import SPINE_SETS, MappingCase, SpineSet
from benchmarks.shape_prior import TRAINING_SEEDS, spine_subjects
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.occupancy.mapper import MapMethod, MapperSettings
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.training import train_prior
from us_recon.pipeline.threads import use_one_thread

PROCESSES = 2
BASE = (
    "log-odds voxels, labels only",
    "log-odds voxels + detector",
    "TSDF, labels only",
    "TSDF + detector",
    "field + detector",
)
LEARNED = (
    "log-odds voxels + learned detector",
    "TSDF + learned detector",
    "field + learned detector",
)
ADAPTIVE = ("TSDF + adaptive detector", "TSDF + adaptive detector, twice")
TRANSMITTED, NAIVE = "field + detector, transmitted labels", "naive occupancy"
FIELD_TWICE = "field + adaptive detector, twice"
WITH_PRIOR = "TSDF + detector + shape prior"
SPARSE = (*BASE, *LEARNED, *ADAPTIVE, NAIVE)
METHODS_OF = {
    "spine-k1": (*BASE, NAIVE),
    "spine-k5": (*SPARSE, TRANSMITTED, FIELD_TWICE, WITH_PRIOR),
    "spine-k20": (*SPARSE, TRANSMITTED, FIELD_TWICE),
    "spine-k0": (*BASE, *LEARNED),
    "spine-k5-missing": (*BASE, *LEARNED, NAIVE),
    "spine-k5-off": SPARSE,
}
"""What each set's table compares: a detector that adapts needs frames with a label and without."""
FAST_SETS = ("spine-k5", "spine-k0")
FAST_METHODS = (*BASE[:4], NAIVE)  # a field takes longer than all the others
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
- `+ detector`: the mapper at its defaults, with the bone detector on frames without a label, where
  both check each other.
- `+ learned detector`: the same with `detector:=both`, the rule and a network from simulation. It
  was trained on other virtual patients of the same kind: on them it is at its best.
- `+ adaptive detector`: the rule alone until the network has learnt from labels of this recording,
  as they come, and comes nearer to those it has not seen. `twice`: then the recording once more,
  after {again} further steps on all labels together.
- `field`: the occupancy field on all frames, four steps each and {settle} in the end, with the
  detector on frames without a label, fused with log-odds voxels; balanced label loss, or the one of
  UltrON (`transmitted`).
- `naive occupancy`: feature grids of 8 to 1 mm and a network of two layers, fitted to the masks as
  they are (shadow is empty space), and kept within 3 mm of a labelled slice (5 and 8 mm changed
  nothing on a development patient).
- `+ shape prior`: completed with a prior of {subjects} other virtual spines, drawn from the same
  population (see `shape_prior`).

CPU: of one thread per frame of the sweep, labelled or not, learning and meshing included; for
`twice` of both times. Memory: peak above what was resident before.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map all patients of all sets by all methods and write the tables."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    wanted = {
        name: tuple(m for m in methods if not run.fast or m in FAST_METHODS)
        for name, methods in METHODS_OF.items()
        if not run.fast or name in FAST_SETS
    }
    seeds = run.seeds(next(iter(SPINE_SETS.values())))
    with TemporaryDirectory() as folder:
        prior = Path(folder) / "spines.npz"
        if any(WITH_PRIOR in methods for methods in wanted.values()):
            settings = TrainingSettings(anatomy="spine")
            write_prior(train_prior(spine_subjects(), settings), prior)
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
            found = list(pool.map(partial(of_patient, wanted=wanted, prior=prior), seeds))
    for name, methods in wanted.items():
        cases = [case for cases in found for case in cases[name]]
        rows = [row(method, of(cases, method=method)) for method in methods]
        table = name.replace("-", "_")
        write_cases(table, cases, run.results)
        write_table(table, rows, note(SPINE_SETS[name], seeds), run.results)


def of_patient(seed: int, wanted: dict[str, tuple[str, ...]], prior: Path) -> dict[str, list[Case]]:
    """Return the figures of all methods on one patient, whose scan serves all sets."""
    use_one_thread()
    cases: dict[str, list[Case]] = {name: [] for name in wanted}
    truth: TrueSurface | None = None
    for name, methods in wanted.items():
        case = SPINE_SETS[name].case(seed)
        truth = truth or TrueSurface(case.truth, case.views)
        for method in methods:
            mapping = METHODS.get(method) or with_detector(MapMethod.TSDF, prior=str(prior))
            found = tried(mapping, case, truth)
            cases[name].append({"seed": seed, "method": method, **found})
            print(name, cases[name][-1], flush=True)
    return cases


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
        again=LOOK_AGAIN_STEPS,
        settle=MapperSettings.settle_steps,
        subjects=len(TRAINING_SEEDS),
    )


if __name__ == "__main__":
    main()
