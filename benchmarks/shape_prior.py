"""Whole spines from 20 frames with 2 labels, with and without a shape prior.

python -m benchmarks.shape_prior [--fast] [--dev] [--pictures FOLDER]
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.beside_truth import draw_beside_truth
from benchmarks.cases import Case, column, median, of, write_cases
from benchmarks.measure import measured
from benchmarks.sets import PROBES, SPINE_SETS, SPINE_SWEEP, TRACKER, MappingCase, scanner
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.evaluation.pictures import BONE_RGB, Painted
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.mapper import MapperSettings, MapSnapshot, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.training import Subject, train_prior
from us_recon.occupancy.views import View
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.cell import CellSettings, make_cell

TRAINING_SEEDS = tuple(range(1000, 1012))  # in no other set, development or test
FEW = 4  # of them, for a prior from a handful of subjects
WRONG = 4  # long bones, whose prior must refuse a spine
FRAMES, LABELLED = 20, (5, 14)
CELL = CellSettings(image_rate_hz=0.8, label_every=1)  # 20 images in the sweep of the spine sets
FILLED_RGB, SIZE_PX = (0.45, 0.6, 0.85), (420, 420)
LOOKS = ((0.0, 1.0, 0.0), (-0.8, 0.5, -0.2))  # from the back and obliquely
METHODS = ("tsdf", "log_odds", "field")

NOTE = """
The spines of the seeds {seeds}, scanned as in the sets `spine-k1` and others, but with 20 images in
the whole sweep, about 11 mm apart, two of which have a label. The mapper at its defaults, with the
method named; all rows of a patient are of the same frames. Medians over the patients.

- `none`: without a prior.
- `{few} spines`, `{many} spines`: a prior from the true surfaces of that many other virtual spines
  (seeds from {first} on, in no other set). {modes} They are of the population that the patients are
  drawn from, which differs in size, processes and curvature only: a real population differs in more
  ways, and figures on it will be worse.
- `{wrong} long bones`: a prior of the wrong anatomy, which has to be refused.

`whole Chamfer` and `whole HD95` go back from all of the truth, `vis` from what the 20 images could
see of it; either way all of the mesh is measured to the nearest true surface. `filled` is how many
patients the prior was believed for, `added` the share of the surface that it filled in, `ms` the
CPU time of meshing and completing. The settings were chosen on development seeds.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the priors, map all patients with each and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(SPINE_SETS["spine-k20"], fast_count=2)
    with TemporaryDirectory() as folder:
        priors, modes = trained(Path(folder))
        cases: list[Case] = []
        for seed in seeds:
            case = scan(seed)
            truth = TrueSurface(case.truth, case.views)
            for method in METHODS[: 1 if run.fast else None]:
                meshes = []
                for name, file in priors.items():
                    figures, mesh = tried(case, truth, MapperSettings(method=method, prior=file))
                    cases.append({"seed": seed, "method": method, "prior": name, **figures})
                    print(cases[-1], flush=True)
                    meshes.append(mesh)
                if run.pictures is not None:
                    picture = run.pictures / f"shape_prior_{seed}_{method}.png"
                    painted = [Painted(mesh, colours(mesh)) for mesh in meshes[:-1]]
                    draw_beside_truth(picture, case, painted, LOOKS, SIZE_PX)
    rows = [
        row(method, name, of(cases, method=method, prior=name))
        for method in METHODS[: 1 if run.fast else None]
        for name in priors
    ]
    note = NOTE.format(
        seeds=", ".join(map(str, seeds)),
        few=FEW,
        many=len(TRAINING_SEEDS),
        first=TRAINING_SEEDS[0],
        wrong=WRONG,
        modes=modes,
    )
    write_cases("shape_prior", cases, run.results)
    write_table("shape_prior", rows, note, run.results)


def trained(folder: Path) -> tuple[dict[str, str], str]:
    """Train and write the priors; return their files by name and a sentence about the modes."""
    spines = spine_subjects()
    bones = [
        Subject(f"long bone {seed}", true_surface("long_bone", seed))
        for seed in TRAINING_SEEDS[:WRONG]
    ]
    files, told = {"none": ""}, []
    for name, subjects in (
        (f"{FEW} spines", spines[:FEW]),
        (f"{len(spines)} spines", spines),
        (f"{WRONG} long bones", bones),
    ):
        prior = train_prior(subjects, TrainingSettings(anatomy=name))
        files[name] = str(folder / f"{name.replace(' ', '_')}.npz")
        write_prior(prior, files[name])
        told.append(
            f"{name}: {prior.mode_count} modes explain {prior.training.variance_explained:.1%} of "
            f"the variance and leave {prior.training.residual_mm:.2f} mm."
        )
        print(told[-1], flush=True)
    return files, " ".join(told[:2])


def spine_subjects() -> list[Subject]:
    """Return the true surfaces of the virtual spines that a prior is trained on."""
    return [Subject(f"spine {seed}", true_surface("spine", seed)) for seed in TRAINING_SEEDS]


def true_surface(patient: str, seed: int) -> Mesh:
    """Return the true surface of a virtual patient in the world."""
    cell = make_cell(patient, PROBES[0], seed, settings=CellSettings(grid_mm=1.5))
    return next(iter(cell.true_meshes().values()))


@lru_cache(maxsize=1)
def scan(seed: int) -> MappingCase:
    """Simulate 20 frames of one spine, two of them with a label."""
    cell = make_cell("spine", PROBES[seed % 3], seed, SPINE_SWEEP, TRACKER, CELL, scanner(seed))
    frames = list(cell.tracked_frames())
    assert len(frames) == FRAMES, f"{len(frames)} frames; expected {FRAMES}"
    truth = next(iter(cell.true_meshes().values()))
    views = [View(T, cell.geometry) for T in cell.T_world_transducer]
    return MappingCase([labelled(k, frame) for k, frame in enumerate(frames)], truth, views)


def labelled(number: int, frame: TrackedFrame) -> TrackedFrame:
    """Leave the frame its label if it is one of the two."""
    return frame if number in LABELLED else replace(frame, label=None)


def tried(
    case: MappingCase, truth: TrueSurface, settings: MapperSettings
) -> tuple[dict[str, object], Mesh]:
    """Return the figures of one mapper on one patient, and its mesh."""
    mapper = OccupancyMapper(settings)
    for frame in case.frames:
        mapper.integrate(frame)
    mapper.settle()
    result = measured(mapper.snapshot)
    snapshot: MapSnapshot = result.value
    visible, whole = (distances(score) for score in truth.scores(snapshot.mesh))
    mesh, completed = snapshot.mesh, snapshot.prior
    filled = np.zeros(len(mesh.vertices_mm), bool) if mesh.observed is None else ~mesh.observed
    areas = mesh.areas_mm2()
    figures: dict[str, object] = {
        "whole Chamfer mm": whole["Chamfer mm"],
        "whole HD95 mm": whole["HD95 mm"],
        "vis Chamfer mm": visible["Chamfer mm"],
        "vis HD95 mm": visible["HD95 mm"],
        "p95 mm": visible["p95 mm"],
        "filled": bool(filled.any()),
        "added": float(areas[filled[mesh.triangles[:, 0]]].sum() / max(areas.sum(), 1e-9)),
        "ms": 1e3 * result.cpu_s,
        "explained": np.nan,
        "lead": np.nan,
        "message": "" if completed is None else completed.message,
    }
    if completed is not None and completed.judgement is not None:
        figures |= {"explained": completed.judgement.explained, "lead": completed.judgement.lead}
    return figures, mesh


def colours(mesh: Mesh) -> np.ndarray:
    """Return a colour per vertex: bone, or blue for what a prior filled in."""
    seen = np.ones(len(mesh.vertices_mm), bool) if mesh.observed is None else mesh.observed
    return np.where(seen[:, None], BONE_RGB, FILLED_RGB).astype(np.float32)


def row(method: str, prior: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return a row's medians over the patients."""
    names = ("whole Chamfer mm", "whole HD95 mm", "vis Chamfer mm", "vis HD95 mm", "p95 mm")
    return {
        "method": method,
        "prior": prior,
        "patients": len(cases),
        **{name: median(cases, name) for name in names},
        "filled": f"{int(column(cases, 'filled').sum())} of {len(cases)}",
        "added": median(cases, "added"),
        "ms": median(cases, "ms"),
    }


if __name__ == "__main__":
    main()
