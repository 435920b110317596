"""`us-recon render` and `us-recon fit-device` on a small labelled patient."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.label_map import acoustic_volume_from_labels
from us_recon.acoustics.settings import RenderSettings
from us_recon.cli.main import main as us_recon
from us_recon.cli.render import named_probe
from us_recon.geometry.rigid import from_euler_xyz_deg, make_rigid
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.probe import ProbeGeometry
from us_recon.imaging.volume import Volume
from us_recon.io.acoustic_volumes import write_acoustic_volume
from us_recon.io.bag import write_bag
from us_recon.io.device_files import read_device
from us_recon.io.nifti import write_nifti

PROBE = ProbeGeometry.linear(30.0, 30.0, 120, 120, beam_count=60, sample_count=200)
NAMES = {1: "csf", 2: "grey_matter", 3: "white_matter"}
LABELS = "1=csf 2=grey_matter 3=white_matter"
AT = "--pose=0,-18,0,0,0,0"
T_WORLD = make_rigid(np.eye(3), np.array([5.0, 6.0, 7.0]))


def patient() -> Volume:
    """Blobs of three tissues, 40 mm a side, about the origin."""
    noise = gaussian_filter(np.random.default_rng(1).standard_normal((40, 40, 40)), 3.0)
    labels = np.digitize(noise, np.quantile(noise, [0.3, 0.6])) + 1
    return Volume(labels.astype(np.float32), make_rigid(np.eye(3), np.full(3, -19.5)))


def scan() -> Iterator[AcquisitionEvent]:
    """Four images of a brighter device."""
    acoustic = acoustic_volume_from_labels(patient(), NAMES)
    yield GeometryEvent(1, PROBE)
    yield PoseEvent(1, np.eye(4), "probe", "transducer", static=True)
    for k in range(4):
        T = from_euler_xyz_deg(np.array([0.0, -18.0, 3.0 * k - 4.0]), np.zeros(3))
        image = expected_image(acoustic, T, PROBE, RenderSettings(gain_db=28.0, speckle=True)).image
        stamp_ns = (k + 1) * 100_000_000
        yield PoseEvent(stamp_ns, T_WORLD @ T)
        yield ImageEvent(stamp_ns, image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patient as labels and as an acoustic volume, the probe, and a bag."""
    path = tmp_path_factory.mktemp("render")
    write_nifti(path / "labels.nii.gz", patient())
    acoustic = acoustic_volume_from_labels(patient(), NAMES)
    write_acoustic_volume(path / "acoustics.nii.gz", acoustic)
    (path / "probe.json").write_text(json.dumps(asdict(PROBE)))
    (path / "typo.json").write_text(json.dumps({**asdict(PROBE), "deep_mm": 3.0}))
    (path / "bad_device.json").write_text('{"gain": 1}')
    pose = {
        "good": np.diag([1.0, 1.0, 1.0, 1.0]).tolist(),
        "sheared": np.diag([1, 1, 2, 1]).tolist(),
    }
    (path / "poses.json").write_text(json.dumps(pose))
    write_bag(path / "bag", scan())
    return path


def render(folder: Path, out: Path, *options: str) -> int:
    labels = ["--mri", str(folder / "labels.nii.gz"), "--labels", LABELS]
    probe = ["--probe", str(folder / "probe.json")]
    return us_recon(["render", *labels, *probe, "--out", str(out), *options])


def test_the_expected_image_is_that_of_the_renderer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        render(folder, tmp_path / "a.png", AT, "--gain-db=25", "--tgc-sliders-db=1,0,0,0,0,0,0,2")
        == 0
    )
    assert "100.0% of the image inside the volume" in capsys.readouterr().out
    settings = RenderSettings(gain_db=25.0, tgc_sliders_db=(1.0, 0, 0, 0, 0, 0, 0, 2.0))
    T = make_rigid(np.eye(3), np.array([0.0, -18.0, 0.0]))
    wanted = expected_image(acoustic_volume_from_labels(patient(), NAMES), T, PROBE, settings).image
    shown = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(shown, wanted)
    assert wanted.std() > 10.0

    # The same from the acoustic volume that was written, and with the probe of a bag.
    fixed = ["render", "--acoustics", str(folder / "acoustics.nii.gz"), "--probe",
             str(folder / "bag"), "--out", str(tmp_path / "b.png"), AT]  # fmt: skip
    assert us_recon([*fixed, "--gain-db=25", "--tgc-sliders-db=1,0,0,0,0,0,0,2"]) == 0
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), -1), wanted)


def test_what_lies_outside_is_black_and_its_share_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The array lies 15 mm above the volume, which ends at -19.5 mm: half of 30 mm is outside.
    # The device's noise alone would be grey there: it is masked all the same.
    noisy = ["--gain-db=40", "--noise-db=-60"]
    assert render(folder, tmp_path / "a.png", "--pose=0,-34.5,0,0,0,0", *noisy) == 0
    said = capsys.readouterr().out
    share = float(said.split(": ")[1].split("%")[0])
    assert share == pytest.approx(50.0, abs=2.5) and "the rest is black" in said
    shown = cv2.imread(str(tmp_path / "a.png"), -1)
    assert not shown[:55].any() and (shown[65:] > 0).mean() > 0.9


def test_panels_show_what_the_image_is_made_of(folder: Path, tmp_path: Path) -> None:
    assert render(folder, tmp_path / "a.png", AT, "--panels") == 0
    drawn = cv2.imread(str(tmp_path / "a.png"))
    assert drawn.shape[1] == 5 * (PROBE.width_px + 16)
    for panel in np.split(drawn, 5, axis=1):
        assert panel[30:-10, 10:-10].std() > 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pose=0,300,0,0,0,0"], "looks past the patient: no pixel shows known tissue"),
        (["--pose", "{folder}/poses.json:sheared"], "is not a rigid transform"),
        (["--pose", "{folder}/poses.json"], "has no 'T_volume_transducer'; it has good, sheared"),
        (["--pose=1,2,3"], "neither x,y,z,rx,ry,rz nor a JSON file"),
        ([AT, "--probe", "{folder}/typo.json"], "a probe has no 'deep_mm'"),
        ([AT, "--probe", "curved"], "expected linear, convex, phased, SCENE:KIND"),
        ([AT, "--config", "{folder}/bad_device.json"], "no setting 'gain'"),
        ([AT, "--gain-db=900"], "gain_db is 900.0 dB; expected"),
        ([AT, "--tgc-sliders-db=1,2"], "expected 8 finite numbers"),
        ([AT, "--out", "a.jpg"], "written as .png"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [option.format(folder=folder) for option in options]
    assert render(folder, tmp_path / "a.png", *given) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "a.png").exists()


def test_it_must_be_said_what_the_image_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ["render", "--probe", "convex", "--out", "a.png", AT]
    assert us_recon([*fixed, "--mri", str(folder / "labels.nii.gz")]) == 2
    assert "what is it? Give --contrast t1" in capsys.readouterr().err
    assert us_recon([*fixed, "--acoustics", str(folder / "acoustics.nii.gz"), "--ct"]) == 2
    assert "not --acoustics" in capsys.readouterr().err


def test_virtual_probes_by_name() -> None:
    assert named_probe("convex") == named_probe("brain:convex")
    assert named_probe("liver:convex").depth_mm == 150.0


def test_a_fitted_device_is_written_and_rendered_with(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["--mri", str(folder / "labels.nii.gz"), "--labels", LABELS]
    out = tmp_path / "device.json"
    command = ["fit-device", str(folder / "bag"), *labels, "--out", str(out), "--iterations=10"]
    assert us_recon([*command, "--T-world-mri=5,6,7,0,0,0"]) == 0
    assert "before: correlation" in capsys.readouterr().out
    fitted = read_device(out)
    middle_db = fitted.gain_db + 1.5 * fitted.tgc_db_cm  # at 1.5 cm; truly 28
    assert middle_db == pytest.approx(28.0, abs=2.5)
    assert render(folder, tmp_path / "a.png", AT, "--config", str(out)) == 0
    brighter = cv2.imread(str(tmp_path / "a.png"), -1)
    assert render(folder, tmp_path / "b.png", AT) == 0
    assert brighter.mean() > cv2.imread(str(tmp_path / "b.png"), -1).mean() + 15.0

    assert us_recon([*command, "--T-world-mri=500,6,7,0,0,0"]) == 2
    assert "is the volume's pose in the world right" in capsys.readouterr().err.replace("\n", " ")
    wrong = ["--T-world-mri=5,6,7,0,0,0", "--transducer-frame=elsewhere"]
    assert us_recon([*command, *wrong]) == 2
    assert "expected 'elsewhere'" in capsys.readouterr().err.replace("\n", " ")
