"""The whole chain, sequence to bag to volume, against the volumes that PLUS made."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from us_recon.cli.main import main as us_recon
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import invert_rigid
from us_recon.imaging.compounding import CompoundingSettings, compound
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.bag import frames_from_bag
from us_recon.io.volumes import Frame, read_volume

PREFIX = "PlusDeviceSet_VolumeReconstructionOnly_"
SPINE = "spine/SpinePhantomFreehand.igs.mha"
SPINE_CONFIG = "spine/PlusDeviceSet_SpinePhantomFreehandReconstructionOnly.xml"
NWIRE = "nwire/NwirePhantomFreehand.igs.mha"
NWIRE_CONFIG = "nwire/PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml"
NWIRE_VOLUME = "nwire/NwirePhantomFreehandReconstructed.mha"
MEAN_VOLUME = "spine/vtkVolumeReconstructorTestNNMEANvolumeRef.mha"
NEAREST_MEAN = ("--interpolation", "nearest", "--compounding", "mean", "--spacing", "0.5")


@pytest.fixture(scope="module")
def plus(data_dir: Path) -> Path:
    return data_dir / "plus"


def converted(plus: Path, folder: Path, sequence: str, config: str, storage: str) -> Path:
    bag = folder / "sweep"
    arguments = ["--config", str(plus / config), "--out", str(bag), "--storage", storage]
    assert us_recon(["convert", "plus", str(plus / sequence), *arguments]) == 0
    return bag


@pytest.fixture(scope="module")
def spine(plus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(plus, tmp_path_factory.mktemp("spine"), SPINE, SPINE_CONFIG, "mcap")


@pytest.fixture(scope="module")
def nwire(plus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(plus, tmp_path_factory.mktemp("nwire"), NWIRE, NWIRE_CONFIG, "sqlite3")


def correlation(
    a: Float32[np.ndarray, "..."], b: Float32[np.ndarray, "..."], where: np.ndarray
) -> float:
    return float(np.corrcoef(a[where], b[where])[0, 1])


def agreement(bag: Path, reference: Path, out: Path, *arguments: str) -> tuple[float, float]:
    """Return the correlation on measured voxels and on filled ones (NaN where there is none)."""
    coverage = out.with_name("coverage.mha")
    command = ["volume", str(bag), "--out", str(out), "--coverage", str(coverage), *arguments]
    assert us_recon(command) == 0
    ours, theirs = read_volume(out, Frame.FILE), read_volume(reference, Frame.FILE)
    np.testing.assert_allclose(ours.T_space_index, theirs.T_space_index, atol=1e-3)
    # Two of the references have one layer less at their far end.
    assert np.abs(np.subtract(ours.data.shape, theirs.data.shape)).sum() <= 1
    common = tuple(slice(0, n) for n in np.minimum(ours.data.shape, theirs.data.shape))
    a, b, how = ours.data[common], theirs.data[common], read_volume(coverage).data[common]
    filled = correlation(a, b, how == 1) if (how == 1).any() else np.nan
    return correlation(a, b, how == 2), filled


@pytest.mark.parametrize(
    ("reference", "arguments", "bar"),
    [
        ("vtkVolumeReconstructorTestNNMEANvolumeRef", (*NEAREST_MEAN, "--fill"), 0.995),
        (
            "SpinePhantomFreehandReconstructed",
            ("--interpolation", "linear", "--compounding", "mean", "--fill"),
            0.995,
        ),
        (
            "vtkVolumeReconstructorTestLNMAXIvolumeRef",
            ("--interpolation", "linear", "--compounding", "maximum"),
            0.98,
        ),
        (
            "vtkVolumeReconstructorTestNNLATEvolumeRef",
            ("--plus-config", f"{PREFIX}SonixRP_TRUS_D70mm_NN_LATE.xml"),
            0.98,
        ),
        (
            "vtkVolumeReconstructorTestLNMEANvolumeRef",
            # PLUS's clip rectangle of 420 x 580 counts the pixels on both edges.
            ("--fill", "--clip", "192", "16", "421", "581",
             "--fan", "380", "20", "-45", "45", "120", "360"),
            0.98,
        ),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_the_spine_agrees_with_plus(
    plus: Path, spine: Path, tmp_path: Path, reference: str, arguments: tuple[str, ...], bar: float
) -> None:
    arguments = tuple(
        str(plus / "spine" / argument) if argument.endswith(".xml") else argument
        for argument in arguments
    )
    measured, filled = agreement(
        spine, plus / "spine" / f"{reference}.mha", tmp_path / "volume.mha", *arguments
    )
    assert measured >= bar
    assert np.isnan(filled) or filled >= 0.98


@pytest.mark.slow
def test_the_wires_agree_with_plus(plus: Path, nwire: Path, tmp_path: Path) -> None:
    arguments = ("--plus-config", str(plus / NWIRE_CONFIG))
    measured, _ = agreement(nwire, plus / NWIRE_VOLUME, tmp_path / "volume.nrrd", *arguments)
    assert measured >= 0.97


def mirrored(frame: TrackedFrame) -> TrackedFrame:
    return replace(frame, image=frame.image[:, ::-1].copy())


def upside_down(frame: TrackedFrame) -> TrackedFrame:
    return replace(frame, image=frame.image[::-1].copy())


def exchanged_axes(frame: TrackedFrame) -> TrackedFrame:
    exchange = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    return replace(frame, T_world_transducer=frame.T_world_transducer @ exchange)


def inverted_pose(frame: TrackedFrame) -> TrackedFrame:
    return replace(frame, T_world_transducer=invert_rigid(frame.T_world_transducer))


@pytest.mark.parametrize(
    ("spoil", "at_most"),
    [(None, 1.0), (mirrored, 0.96), (upside_down, 0.5), (exchanged_axes, 0.8), (inverted_pose, 0)],
)
def test_a_wrong_axis_or_frame_falls_far_below(
    plus: Path,
    spine: Path,
    spoil: Callable[[TrackedFrame], TrackedFrame] | None,
    at_most: float,
) -> None:
    reference = read_volume(plus / MEAN_VOLUME, Frame.FILE)
    x, y, z = reference.T_space_index[:3, 3].tolist()
    grid = Grid((x, y, z), 0.5, reference.data.shape)
    frames = (spoil(frame) if spoil else frame for frame in frames_from_bag(spine))
    settings = CompoundingSettings(interpolation="nearest")
    result = compound(frames, grid, settings)
    reached = result.covered.any()
    found = correlation(result.volume.data, reference.data, result.covered) if reached else -1.0
    assert found <= at_most
    if spoil is None:
        assert found >= 0.995


def test_formats_hold_the_same_volume(spine: Path, tmp_path: Path) -> None:
    arguments = ("--spacing", "1", "--clip", "300", "100", "200", "150")
    volumes = []
    for ending in (".mha", ".nrrd", ".nii.gz"):
        out = tmp_path / f"volume{ending}"
        assert us_recon(["volume", str(spine), "--out", str(out), *arguments]) == 0
        volumes.append(read_volume(out, Frame.FILE))
    for volume in volumes[1:]:
        np.testing.assert_array_equal(volume.data, volumes[0].data)
        np.testing.assert_allclose(volume.T_space_index, volumes[0].T_space_index, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "volume.tif"), "unknown format"),
        (("--out", "volume.mha", "--spacing", "-1"), "expected a value from 0.01"),
        (("--out", "volume.mha", "--clip", "900", "0", "10", "10"), "no pixel of an image"),
        (("--out", "volume.mha", "--fan", "0", "0", "10", "-10", "0", "5"), "first < last"),
        (("--out", "volume.mha", "--image-topic", "/other"), "no topic '/other'"),
        (("--out", "volume.mha", "--world-frame", "table"), "no tracked frame"),
    ],
)
def test_mistakes_are_explained(
    spine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert us_recon(["volume", str(spine), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
