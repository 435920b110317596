"""The occupancy field beside the best baselines, all spine sets in one table.

python -m benchmarks.spine_field [--fast] [--dev]

`benchmarks.spine_mapping` has all methods and a table per set; this takes a third of the time.
"""

from collections.abc import Sequence

from benchmarks.arguments import parse_run
from benchmarks.cases import Case, of, write_cases
from benchmarks.mapping_methods import LEARNED_METHODS
from benchmarks.sets import SPINE_SETS
from benchmarks.spine_mapping import FAST_SETS, METHODS, row, tried
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface
from us_recon.pipeline.threads import use_one_thread

BESIDE = (
    "log-odds voxels, labels only",
    "log-odds voxels + detector",
    "TSDF + detector",
    "TSDF + learned detector",
    "field + detector",
    "field + learned detector",
)
ABLATED, ABLATED_SETS = "field + detector, transmitted labels", ("spine-k5", "spine-k20")

NOTE = """
Seeds {seeds}; figures, patients and sets as in the tables `spine_k1` and others, whose best
baselines are repeated here in the same run. Medians over the patients. The settings of the field
were chosen on the development seeds.

- `field`: the occupancy field on all frames, four steps each, with the detector on frames without a
  label, fused with log-odds voxels. Balanced label loss, or (`transmitted`) that of UltrON.
- `learned detector`: ridge and shadow by rule, and what a network trained in simulation sees. It
  was trained on other virtual patients of the same kind: here it is at its best.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map all patients of all sets and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    sets = [one for one in SPINE_SETS.values() if not run.fast or one.name in FAST_SETS]
    cases: list[Case] = []
    seeds = run.seeds(sets[0])
    for seed in seeds:
        truth: TrueSurface | None = None
        for one in sets:
            case = one.case(seed)
            truth = truth or TrueSurface(case.truth, case.views)
            for name in methods(one.name, run.fast):
                figures = tried(METHODS[name], case, truth)
                cases.append({"set": one.name, "seed": seed, "method": name, **figures})
                print(cases[-1], flush=True)
    rows = [
        {"set": one.name, **row(name, of(cases, set=one.name, method=name))}
        for one in sets
        for name in methods(one.name, run.fast)
    ]
    write_cases("spine_field", cases, run.results)
    write_table("spine_field", rows, NOTE.format(seeds=", ".join(map(str, seeds))), run.results)


def methods(set_name: str, fast: bool) -> tuple[str, ...]:
    """Return the methods that are compared on a set."""
    if fast:
        return tuple(name for name in BESIDE if name not in LEARNED_METHODS)
    return (*BESIDE, ABLATED) if set_name in ABLATED_SETS else BESIDE


if __name__ == "__main__":
    main()
