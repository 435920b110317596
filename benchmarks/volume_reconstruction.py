"""Freehand reconstruction against the volumes that the PLUS toolkit made of the same recording.

    python -m benchmarks.volume_reconstruction [--pictures DIR]

Every figure goes through the whole chain: `us-recon convert plus`, then `us-recon volume` on the
bag. The last rows are negative controls: the same chain with one thing wrong.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from benchmarks.arguments import Run, parse_run
from benchmarks.tables import Row, data_dir, write_table
from us_recon.cli.main import main as us_recon
from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.compounding import compound, grid_of_frames
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.io.bag import frames_from_bag
from us_recon.io.plus import read_plus_config
from us_recon.io.volumes import Frame, read_volume

MEASURED = 2
"""Value of measured voxels in the coverage volume."""

NOTE = """\
Volumes made by `us-recon convert plus` and `us-recon volume` against those that PLUS made of the
same recording. `measured` is the correlation on the voxels that images reached, `filled` on the
voxels that hole filling added, `everywhere` on all voxels. Spacing, interpolation, compounding,
clip rectangle and fan come from the configuration that made each reference (`--plus-config`). Two
rules of ours were found while comparing with the spine volumes, both after what PLUS does: a voxel
counts as measured from a weight of 1/8 (without it the linear mean reaches 0.9947), and pixels
within 1 px of the fan's outline are left out (without it the fan volumes reach 0.984 and 0.982).
The wires were compared only afterwards. `shape` and `origin` compare the grids; two references
have one layer less at their far end. PLUS keeps 8-bit voxels and rounds at every pixel it adds,
which bounds the agreement.
"""


@dataclass(frozen=True)
class Case:
    """A reference volume with what it was made from."""

    folder: str
    sequence: str
    config: str
    reference: str
    bar: float


SPINE = "SpinePhantomFreehand.igs.mha"
_PREFIX = "PlusDeviceSet_VolumeReconstructionOnly_"
CASES = (
    Case(
        "spine",
        SPINE,
        f"{_PREFIX}SpinePhantom_NN_MEAN.xml",
        "vtkVolumeReconstructorTestNNMEANvolumeRef.mha",
        0.995,
    ),
    Case(
        "spine",
        SPINE,
        "PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml",
        "SpinePhantomFreehandReconstructed.mha",
        0.995,
    ),
    Case(
        "spine",
        SPINE,
        f"{_PREFIX}SpinePhantom_LN_MAXI.xml",
        "vtkVolumeReconstructorTestLNMAXIvolumeRef.mha",
        0.98,
    ),
    Case(
        "spine",
        SPINE,
        f"{_PREFIX}SonixRP_TRUS_D70mm_NN_LATE.xml",
        "vtkVolumeReconstructorTestNNLATEvolumeRef.mha",
        0.98,
    ),
    Case(
        "spine",
        SPINE,
        f"{_PREFIX}SonixRP_TRUS_D70mm_LN_MEAN.xml",
        "vtkVolumeReconstructorTestLNMEANvolumeRef.mha",
        0.98,
    ),
    Case(
        "nwire",
        "NwirePhantomFreehand.igs.mha",
        "PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml",
        "NwirePhantomFreehandReconstructed.mha",
        0.97,
    ),
)


def mirrored_columns(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with its image mirrored left to right."""
    return replace(frame, image=frame.image[:, ::-1].copy())


def mirrored_rows(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with its image upside down."""
    return replace(frame, image=frame.image[::-1].copy())


def inverted_pose(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with its pose taken the wrong way round."""
    return replace(frame, T_world_transducer=invert_rigid(frame.T_world_transducer))


def shifted_columns(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with the array's centre 2 mm off to the side."""
    geometry = frame.geometry
    off_px = 2.0 / geometry.spacing_x_mm
    return replace(frame, geometry=replace(geometry, origin_x_px=geometry.origin_x_px + off_px))


def swapped_axes(frame: TrackedFrame) -> TrackedFrame:
    """Return the frame with the lateral and the depth axis of the array exchanged."""
    exchange = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    return replace(frame, T_world_transducer=frame.T_world_transducer @ exchange)


CONTROLS: dict[str, Callable[[TrackedFrame], TrackedFrame]] = {
    "columns mirrored": mirrored_columns,
    "rows mirrored": mirrored_rows,
    "axes exchanged": swapped_axes,
    "pose inverted": inverted_pose,
    "centre 2 mm off": shifted_columns,
}


def reconstruct(case: Case, data: Path, work: Path) -> tuple[Volume, Volume, float]:
    """Run the chain; return the volume, its coverage and the seconds `us-recon volume` took."""
    folder, bag = data / "plus" / case.folder, work / f"{Path(case.config).stem}.bag"
    config = str(folder / case.config)
    sequence = str(folder / case.sequence)
    _command("convert", "plus", sequence, "--config", config, "--out", str(bag), "--whole-image")
    out, coverage = work / f"{case.reference}", work / f"coverage-{case.reference}"
    start = time.perf_counter()
    _command(
        "volume", str(bag), "--out", str(out), "--coverage", str(coverage), "--plus-config", config
    )
    seconds = time.perf_counter() - start
    return read_volume(out, Frame.FILE), read_volume(coverage, Frame.FILE), seconds


def row_of(case: Case, ours: Volume, coverage: Volume, reference: Volume, seconds: float) -> Row:
    """Compare a volume with its reference."""
    settings = read_plus_config(data_dir() / "plus" / case.folder / case.config).reconstruction
    assert settings is not None
    common = common_voxels(ours, reference)
    a, b, how = ours.data[common], reference.data[common], coverage.data[common]
    measured = correlation(a, b, how == MEASURED)
    return {
        "reference": case.reference.removesuffix(".mha"),
        "interpolation": settings.settings.interpolation,
        "compounding": settings.settings.compounding,
        "fan": "yes" if settings.region.fan else "no",
        "measured": round(measured, 5),
        "bar": case.bar,
        "met": "yes" if measured >= case.bar else "NO",
        "filled": round(correlation(a, b, how == 1), 4) if np.any(how == 1) else "-",
        "everywhere": round(correlation(a, b, how >= 0), 4),
        "shape, theirs": "x".join(map(str, reference.data.shape)),
        "shape, ours": "x".join(map(str, ours.data.shape)),
        "origin off mm": round(float(np.abs(_origin(ours) - _origin(reference)).max()), 5),
        "seconds": round(seconds, 1),
    }


def control_rows(case: Case, data: Path, work: Path, reference: Volume) -> list[Row]:
    """Compare volumes made with one thing wrong, in the reference's own grid."""
    bag = work / f"{Path(case.config).stem}.bag"
    found = read_plus_config(data / "plus" / case.folder / case.config).reconstruction
    assert found is not None
    settings = replace(found.settings, fill=False)
    grid = grid_of_frames(frames_from_bag(bag), settings.spacing_mm, found.region)
    rows: list[Row] = []
    for name, spoil in CONTROLS.items():
        frames = (spoil(frame) for frame in frames_from_bag(bag))
        wrong = compound(frames, grid, settings, found.region)
        common = common_voxels(wrong.volume, reference)
        covered = wrong.covered[common]
        value = (
            round(correlation(wrong.volume.data[common], reference.data[common], covered), 4)
            if covered.any()
            else "no voxel in common"
        )
        rows.append(
            {"reference": Path(case.reference).stem, "wrong on purpose": name, "measured": value}
        )
    return rows


def common_voxels(a: Volume, b: Volume) -> tuple[slice, ...]:
    """Return the voxels that two grids of equal origin share."""
    smaller = np.minimum(a.data.shape, b.data.shape)
    return tuple(slice(0, int(extent)) for extent in smaller)


def correlation(
    a: Float32[np.ndarray, "i j k"], b: Float32[np.ndarray, "i j k"], where: np.ndarray
) -> float:
    """Return Pearson's correlation of two volumes on some voxels."""
    return float(np.corrcoef(a[where], b[where])[0, 1])


def picture(ours: Volume, reference: Volume, path: Path) -> None:
    """Draw the three middle slices of ours above those of the reference."""
    common = common_voxels(ours, reference)
    rows = []
    for data in (ours.data[common], reference.data[common]):
        middle = [extent // 2 for extent in data.shape]
        slices = [data[middle[0]], data[:, middle[1]], data[:, :, middle[2]]]
        height = max(s.shape[0] for s in slices)
        padded = [np.pad(s, ((0, height - s.shape[0]), (0, 4))) for s in slices]
        rows.append(np.hstack(padded))
    image = cv2.resize(np.vstack(rows), None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), image.astype(np.uint8))


def _origin(volume: Volume) -> np.ndarray:
    return volume.T_space_index[:3, 3]


def _command(*arguments: str) -> None:
    status = us_recon(arguments)
    if status != 0:
        raise SystemExit(f"us-recon {' '.join(arguments)} returned {status}")


def reconstruct_all(run: Run) -> None:
    """Reconstruct every case and write the tables."""
    data = data_dir()
    rows: list[Row] = []
    controls: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for case in CASES[:2] if run.fast else CASES:
            reference = read_volume(data / "plus" / case.folder / case.reference, Frame.FILE)
            ours, coverage, seconds = reconstruct(case, data, work)
            rows.append(row_of(case, ours, coverage, reference, seconds))
            if run.pictures is not None:
                run.pictures.mkdir(parents=True, exist_ok=True)
                picture(ours, reference, run.pictures / f"{Path(case.reference).stem}.png")
            if case in (CASES[0], CASES[-1]):
                controls += control_rows(case, data, work, reference)
    write_table("volume_reconstruction", rows, NOTE, run.results)
    write_table(
        "volume_reconstruction_controls",
        controls,
        "The same reconstructions with one thing wrong: the correlation on the measured voxels. "
        "The spine images are nearly symmetric from left to right, with black borders, so that "
        "a mirrored image is told from the right one by less there than on the wires.",
        run.results,
    )


if __name__ == "__main__":
    reconstruct_all(parse_run(__doc__))
