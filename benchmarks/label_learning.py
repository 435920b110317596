"""What a detector gains that learns from the labels of its recording: one table over three sets.

python -m benchmarks.label_learning [--fast] [--dev]
"""

from collections.abc import Sequence

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, of, write_cases
from benchmarks.mapping_methods import (
    LEARNED_METHODS,
    LOOK_AGAIN_STEPS,
    MAPPING_METHODS,
    MappingMethod,
)
from benchmarks.sets import SPINE_SETS
from benchmarks.spine_mapping import row, tried
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface
from us_recon.pipeline.threads import use_one_thread

SETS = ("spine-k20", "spine-k5", "spine-k5-off")
FAST_SETS = SETS[:1]
METHODS: dict[str, MappingMethod] = {
    name: (MAPPING_METHODS | LEARNED_METHODS)[name]
    for name in (
        "TSDF + detector",
        "TSDF + learned detector",
        "TSDF + adaptive detector",
        "TSDF + adaptive detector, twice",
    )
}

NOTE = """
Lumbar spines from the seeds {seeds}, as in `spine_mapping`, whose note tells what the columns mean:
a label on every 20th frame, on every 5th, and on every 5th of which every second one lies 1.5 to 5
mm off. Medians over the patients, all methods in one run.

- `+ detector`: the label where there is one, else the rule (ridge and shadow).
- `+ learned detector`: else the rule and the network from simulation, which was trained on other
  virtual patients of the same kind: no recording of a real patient is as near to its training.
- `+ adaptive detector`: the rule alone until the network has learnt from labels of this recording,
  as they come, and comes nearer to those it has not seen.
- `twice`: then the recording once more, after {again} further steps on all labels together.

CPU: of one thread per frame of the sweep, labelled or not, learning and meshing included; for
`twice` of both times.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map all patients of the sets and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    names = FAST_SETS if run.fast else SETS
    seeds = run.seeds(SPINE_SETS[names[0]])
    cases: list[Case] = []
    for seed in seeds:
        for name in names:
            case = SPINE_SETS[name].case(seed)
            truth = TrueSurface(case.truth, case.views)
            for method, mapping in METHODS.items():
                known: Case = {"set": name, "seed": seed, "method": method}
                cases.append({**known, **tried(mapping, case, truth)})
                print(cases[-1], flush=True)
    write_cases("label_learning", cases, run.results)
    rows = [
        {"set": name, **row(method, of(cases, set=name, method=method))}
        for name in names
        for method in METHODS
    ]
    note = NOTE.format(seeds=", ".join(map(str, seeds)), again=LOOK_AGAIN_STEPS)
    write_table("label_learning", rows, note, run.results)


if __name__ == "__main__":
    main()
