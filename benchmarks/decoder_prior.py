"""A lab's own scanner: what the labels of earlier subjects are worth for the next one.

python -m benchmarks.decoder_prior [--fast] [--dev] [--pictures FOLDER]
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.beside_truth import draw_beside_truth
from benchmarks.cases import Case, median, of, write_cases
from benchmarks.mapping_methods import settled_mesh
from benchmarks.measure import measured
from benchmarks.sets import SPINE_SETS, SPINE_SWEEP, TRACKER, MappingCase
from benchmarks.shape_prior import LOOKS, SIZE_PX, TRAINING_SEEDS
from benchmarks.tables import write_table
from benchmarks.true_surface import TrueSurface, distances
from us_recon.evaluation.pictures import BONE_RGB, Painted
from us_recon.imaging.probe import ProbeKind
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.prior.decoder import ImageDecoder, train_decoder
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.settings import TrainingSettings
from us_recon.occupancy.prior.training import Subject, train_prior
from us_recon.occupancy.views import View
from us_recon.pipeline.threads import use_one_thread
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.scanner.imager import ImagerSettings

EARLIER = TRAINING_SEEDS[:4]
LABEL_EVERY = 5  # of the earlier subjects' images
CELL = CellSettings(image_rate_hz=5.0, label_every=1)
# Noisier, hazier and harder in contrast than any scanner that the network was trained on.
SCANNER = ImagerSettings(
    gain_db=3.0,
    dynamic_range_db=42.0,
    noise_db=-44.0,
    reverberation=0.09,
    clutter_db=5.0,
    clutter_mm=9.0,
)
PATIENT = {"fat_mm": 16.0}
DECODER, BOTH = "decoder of 4 earlier subjects", "rule and network from simulation"
METHODS: dict[str, dict[str, str]] = {
    "TSDF, rule": {"method": "tsdf", "detector": "ridge"},
    f"TSDF, {BOTH}": {"method": "tsdf", "detector": "both"},
    "TSDF, learning from labels": {"method": "tsdf", "detector": "adaptive"},
    f"TSDF, {DECODER}": {"method": "tsdf", "detector": "adaptive", "prior": "file"},
    "field, rule": {"method": "field", "detector": "ridge"},
    f"field, {BOTH}": {"method": "field", "detector": "both"},
    f"field, {DECODER}": {"method": "field", "detector": "adaptive", "prior": "file"},
}
PAINTED = ("TSDF, rule", f"TSDF, {BOTH}", f"TSDF, {DECODER}")
LABELS = {"none": 0, "every 20th": 20}

NOTE = """
Spines of the seeds {seeds}, as in the sets spine-k0 and others but
with one convex probe, about {count} images a sweep, {fat:g} mm of fat and a scanner of the lab's
own: noisier, hazier and harder in contrast than any that the detector's network was trained on in
simulation. {earlier} earlier subjects (seeds {first} to {last}, in no other set) were mapped with
`detector:=adaptive` and a label on every {every}th image; a prior was trained on the files of
their maps, as `us-recon prior train` does it. {told}
Rows of a patient are of the same frames. Medians over the patients.

`Chamfer`, `HD95`, `p95`, `complete`: of the measured surface alone, against what the images could
see. `whole Chamfer`: with what the prior's shape filled in, where it was believed (`filled`),
against all of the bone; the earlier maps hold what was seen of them alone, mostly the near side.
Scanner and steps of learning were set on development seeds.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Map the earlier subjects, train on their maps, map the others and write the table."""
    run = parse_run(__doc__, arguments)
    use_one_thread()
    seeds = run.seeds(SPINE_SETS["spine-k20"])
    cases: list[Case] = []
    with TemporaryDirectory() as folder:
        prior = Path(folder) / "prior.npz"
        decoder = trained(Path(folder), prior)
        for seed in seeds:
            full = scan(seed)
            truth = TrueSurface(full.truth, full.views)
            for labels, every in LABELS.items():
                case = labelled(full, every)
                meshes = {}
                for name, settings in METHODS.items():
                    given = settings | ({"prior": str(prior)} if "prior" in settings else {})
                    figures, meshes[name] = tried(case, truth, MapperSettings(**given))
                    cases.append({"seed": seed, "labels": labels, "method": name, **figures})
                    print(cases[-1], flush=True)
                if run.pictures is not None and not every:
                    painted = [Painted(meshes[name], BONE_RGB) for name in PAINTED]
                    picture = run.pictures / f"decoder_prior_{seed}.png"
                    draw_beside_truth(picture, case, painted, LOOKS, SIZE_PX)
    rows = [
        row(labels, name, of(cases, labels=labels, method=name))
        for labels in LABELS
        for name in METHODS
    ]
    note = NOTE.format(
        seeds=", ".join(map(str, seeds)),
        count=len(full.frames),
        fat=PATIENT["fat_mm"],
        earlier=len(EARLIER),
        first=EARLIER[0],
        last=EARLIER[-1],
        every=LABEL_EVERY,
        told=f"Its decoder learnt {decoder.images} images; on those of subjects left out it was "
        f"{decoder.off_mm:.2f} mm off, the rule {decoder.rule_off_mm:.2f}.",
    )
    write_cases("decoder_prior", cases, run.results)
    write_table("decoder_prior", rows, note, run.results)


def trained(folder: Path, out: Path) -> ImageDecoder:
    """Map the earlier subjects and train a prior on the files of their maps."""
    subjects, learners = [], []
    for seed in EARLIER:
        mapper = OccupancyMapper(MapperSettings(method="tsdf", detector="adaptive"))
        for frame in labelled(scan(seed), LABEL_EVERY).frames:
            mapper.integrate(frame)
        mapper.save(folder / f"{seed}.npz")
        again = OccupancyMapper.load(folder / f"{seed}.npz")
        assert again.learner is not None
        subjects.append(Subject(str(seed), again.snapshot().mesh))
        learners.append(again.learner)
    settings = TrainingSettings(anatomy="spine")
    decoder = train_decoder(learners, settings.decoder_steps)
    assert decoder is not None
    write_prior(train_prior(subjects, settings), out, decoder)
    print(decoder.images, decoder.off_mm, decoder.rule_off_mm, flush=True)
    return decoder


def scan(seed: int) -> MappingCase:
    """Simulate one subject with a label on every image."""
    cell = make_cell("spine", ProbeKind.CONVEX, seed, SPINE_SWEEP, TRACKER, CELL, SCANNER, PATIENT)
    truth = next(iter(cell.true_meshes().values()))
    views = [View(T, cell.geometry) for T in cell.T_world_transducer]
    return MappingCase(list(cell.tracked_frames()), truth, views)


def labelled(case: MappingCase, every: int) -> MappingCase:
    """Leave every so many frames their label; 0: none."""
    frames = [
        frame if every and k % every == 0 else replace(frame, label=None)
        for k, frame in enumerate(case.frames)
    ]
    return replace(case, frames=frames)


def tried(
    case: MappingCase, truth: TrueSurface, settings: MapperSettings
) -> tuple[dict[str, object], Mesh]:
    """Return the figures of one mapper on one patient, and what it measured."""
    mapper = OccupancyMapper(settings)

    result = measured(lambda: settled_mesh(case.frames, mapper))
    mesh, part = result.value, measured_part(result.value)
    seen, _ = truth.scores(part)
    _, whole = truth.scores(mesh)
    figures = distances(seen)
    names = ("Chamfer mm", "HD95 mm", "p95 mm", "complete 2 mm")
    told: dict[str, object] = {
        **{name: figures[name] for name in names},
        "whole Chamfer mm": distances(whole)["Chamfer mm"],
        "filled": bool(mesh.observed is not None and not mesh.observed.all()),
        "ms / frame": 1e3 * result.cpu_s / len(case.frames),
    }
    return told, part


def measured_part(mesh: Mesh) -> Mesh:
    """Return what was measured of a mesh, without what a prior filled in."""
    if mesh.observed is None:
        return mesh
    return replace(mesh, triangles=mesh.triangles[mesh.observed[mesh.triangles].all(axis=1)])


def row(labels: str, method: str, cases: Sequence[Case]) -> dict[str, object]:
    """Return a row's medians over the patients."""
    names = (
        "Chamfer mm", "HD95 mm", "p95 mm", "complete 2 mm", "whole Chamfer mm", "ms / frame",
    )  # fmt: skip
    filled = int(np.sum([bool(case["filled"]) for case in cases]))
    return {
        "labels": labels,
        "method": method,
        "patients": len(cases),
        **{name: median(cases, name) for name in names},
        "filled": f"{filled} of {len(cases)}",
    }


if __name__ == "__main__":
    main()
