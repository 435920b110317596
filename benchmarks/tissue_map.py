"""Impedance from MRI: the calibrated learned map against the same network on raw intensity.

python -m benchmarks.tissue_map [--fast] [--pictures docs/images]
"""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arguments import parse_run
from benchmarks.tables import data_dir, write_table
from us_recon.acoustics.classifier import CLASSES, Classifier, train
from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.mixing import properties_of
from us_recon.acoustics.mri_map import MriMapSettings, acoustic_volume_from_mri
from us_recon.acoustics.training import TrainingVoxels, training_voxels
from us_recon.acoustics.virtual_heads import VirtualHead, virtual_head
from us_recon.errors import InputError
from us_recon.evaluation.acoustic_picture import acoustic_picture
from us_recon.io.volumes import read_volume
from us_recon.pipeline.threads import use_one_thread

NOTE = """
Mean absolute error of impedance (kRayl: grey and white matter are 48 apart) in voxels that hold
more than 90 % of one tissue, on the front halves of heads drawn from seeds that trained nothing;
all networks were trained on back halves. "raw" and "scaled" are the same network on one number, the
scanner's intensity, and that divided by the image's 99th percentile; DiffUS learns from the former.
These two saw four heads in training, the map eight, and only the map decides between bone and none.
"calibrated" is the map of `us-recon acoustics`, all fluid taken as clear. The heads are the ICBM
2009a template with drawn contrast, skull, scalp, lesion, bias field, noise, gain and offset; in
"own" the image is the template's T1 itself, with another bias, noise and gain. "hard" has twice the
noise and bias that were trained on. An image that the map refuses, since it shows no tissues, is
left out and counted. Bone is a single figure for skull and diploe. The shells of
skull and scalp are simple: the errors outside of the brain are those of a model, not of patients.
"""
CLEAR = MriMapSettings(sulcus_width_mm=0.0)
CLASSES_SHOWN = ("csf", "grey_matter", "white_matter", "skull")
LEAST_SHARE = 0.9
TRAINING_HEADS, FAST_HEADS = 4, 4
SEED, SEED_DEV = 1000, 2000


@dataclass(frozen=True)
class Case:
    """A kind of head to measure on."""

    name: str
    crop: str = ""
    bare: bool = False
    own_t1: bool = False
    noise: tuple[float, float] = (0.01, 0.05)
    bias: float = 0.15

    def draw(self, contrast: str, seed: int) -> VirtualHead:
        return virtual_head(
            contrast,
            seed,
            bare=self.bare,
            own_t1=self.own_t1,
            crop=self.crop,
            noise=self.noise,
            bias=self.bias,
        )


CASES = (
    Case("head"),
    Case("bare brain", bare=True),
    Case("own", own_t1=True),
    Case("crop", crop="front"),
    Case("crop, hard", crop="front", noise=(0.06, 0.1), bias=0.3),
)
CROPS = 2  # a crop holds little: several are measured together


def main() -> None:
    """Train the two comparisons, measure all on the same voxels, and write the table."""
    run = parse_run(__doc__)
    use_one_thread()
    seed = SEED_DEV if run.dev else SEED
    rows = []
    for contrast in ("t1",) if run.fast else tuple(CONTRASTS):
        voxels = training_voxels(contrast, FAST_HEADS if run.fast else TRAINING_HEADS)
        networks = {"raw": raw_network(voxels), "scaled": scaled_network(voxels)}
        for case in CASES:
            if (case.own_t1 and contrast != "t1") or (run.fast and not case.crop):
                continue
            heads = [case.draw(contrast, seed + n) for n in range(CROPS if case.crop else 1)]
            rows += case_rows(contrast, case, heads, networks)
    write_table("tissue_map", rows, NOTE, run.results)
    if run.pictures:
        write_pictures(run.pictures)


def raw_network(voxels: TrainingVoxels) -> Classifier:
    return train(voxels.intensity[:, None] / np.float32(1000.0), voxels.shares)


def scaled_network(voxels: TrainingVoxels) -> Classifier:
    return train((voxels.intensity / voxels.brightest)[:, None], voxels.shares)


def case_rows(
    contrast: str, case: Case, heads: list[VirtualHead], networks: dict[str, Classifier]
) -> list[dict[str, object]]:
    """Return one row per method."""
    errors: dict[str, dict[str, list[np.ndarray]]] = {}
    seconds, refused = 0.0, 0
    for head in heads:
        true = truth(head)
        started = time.process_time()
        try:
            made = acoustic_volume_from_mri(head.volume, contrast, CLEAR)
        except InputError:
            refused += 1
            continue
        seconds += time.process_time() - started
        top = float(np.percentile(head.volume.data[head.known], 99.0))
        found = {
            "raw": from_intensity(networks["raw"], head.volume.data / 1000.0),
            "scaled": from_intensity(networks["scaled"], head.volume.data / top),
            "calibrated": made.impedance_mrayl.numpy(),
        }
        for tissue, where in measured_voxels(head).items():
            for method, impedance in found.items():
                each = 1e3 * np.abs(impedance[where] - true[where])
                errors.setdefault(method, {}).setdefault(tissue, []).append(each)
    rows = []
    for method, by_tissue in errors.items():
        row: dict[str, object] = {"contrast": contrast, "case": case.name, "method": method}
        for tissue, parts in by_tissue.items():
            values = np.concatenate(parts)
            row[tissue] = float(values.mean()) if len(values) else "-"
        row["CPU s"] = seconds / (len(heads) - refused) if method == "calibrated" else "-"
        row["refused"] = f"{refused} of {len(heads)}"
        rows.append(row)
    return rows


def truth(head: VirtualHead) -> np.ndarray:
    """Return the true impedance, MRayl."""
    impedance = properties_of(CLASSES)[:, 0].numpy()
    return np.tensordot(impedance, head.shares, axes=1)


def measured_voxels(head: VirtualHead) -> dict[str, np.ndarray]:
    """Return where each tissue is nearly alone, on the front half."""
    front = head.half(front=True)
    shares = dict(zip(CLASSES, head.shares, strict=True))
    shares["skull"] = shares["skull"] + shares["cancellous_bone"]
    return {name: front & (shares[name] > LEAST_SHARE) for name in CLASSES_SHOWN}


def from_intensity(network: Classifier, intensity: np.ndarray) -> np.ndarray:
    """Return the impedance that a network of intensity alone makes."""
    shares = network.shares(intensity.reshape(-1, 1).astype(np.float32))
    return (shares @ properties_of(CLASSES)[:, :1]).numpy().reshape(intensity.shape)


def write_pictures(folder: Path) -> None:
    """Draw the map of a real patient's T1 and FLAIR."""
    folder.mkdir(parents=True, exist_ok=True)
    for contrast in ("T1", "FLAIR"):
        mri = read_volume(data_dir() / "resect_case24" / f"Case24_{contrast}_in_US_grid.nii.gz")
        made = acoustic_volume_from_mri(mri, contrast.lower())
        picture = acoustic_picture(mri, made, contrast)
        cv2.imwrite(str(folder / f"acoustics_{contrast.lower()}.png"), picture[..., ::-1])


if __name__ == "__main__":
    main()
