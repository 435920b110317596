import argparse
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from us_recon.cli import simulate
from us_recon.cli.main import main
from us_recon.errors import InputError
from us_recon.geometry.rigid import invert_rigid, rotation_angle_rad, transform_points
from us_recon.imaging.assembler import AssemblerSettings
from us_recon.imaging.events import GeometryEvent, ImageEvent, LabelEvent, PoseEvent
from us_recon.io.bag import BagReader, truth_folder
from us_recon.io.landmarks import read_tag_pairs
from us_recon.io.nifti import read_nifti
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.tracker import TrackerSettings
from us_recon.simulation.truth import write_truth

SHORT = SweepSettings(sweep="linear", length_mm=8.0, speed_mm_s=8.0)
COARSE = {"image_rate_hz": 5.0, "grid_mm": 3.0}
TRUTH_FILES = {
    "bone.ply",
    "bone_visible.ply",
    "visibility.npz",
    "landmarks.tag",
    "transforms.json",
    "mri.nii.gz",
}
STEADY = TrackerSettings(noise_mm=0.0, noise_deg=0.0, jitter_s=0.0, dropouts_per_s=0.0)


def spine_cell(seed: int = 1, **others: object) -> ScanningCell:
    values = COARSE | {k: v for k, v in others.items() if k in CellSettings.__dataclass_fields__}
    tracker = others.get("tracker", TrackerSettings())
    assert isinstance(tracker, TrackerSettings)
    return make_cell("spine", "linear", seed, SHORT, tracker, CellSettings(**values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def labelled() -> ScanningCell:
    return spine_cell(label_every=2, tracker=STEADY)


def test_events_come_in_order_and_whole(labelled: ScanningCell) -> None:
    events = list(labelled.events())
    stamps = [event.stamp_ns for event in events]
    assert stamps == sorted(stamps)
    assert isinstance(events[0], GeometryEvent)
    assert isinstance(events[1], PoseEvent) and events[1].static
    images = [event for event in events if isinstance(event, ImageEvent)]
    # 8 mm at 8 mm/s and 5 Hz: at 0, 0.2 ... 1.0 s; every second one has a label.
    assert len(images) == labelled.image_count == 6
    assert labelled.duration_s == pytest.approx(1.0)
    labels = [event.stamp_ns for event in events if isinstance(event, LabelEvent)]
    assert labels == [event.stamp_ns for event in images[::2]]
    poses = [event for event in events if isinstance(event, PoseEvent) and not event.static]
    # 100 Hz from 0.1 s before to 0.1 s after.
    assert len(poses) == 121
    assert poses[0].stamp_ns < images[0].stamp_ns and poses[-1].stamp_ns > images[-1].stamp_ns


def test_same_seed_same_bytes() -> None:
    first, again, other = (next(iter_images(spine_cell(seed))) for seed in (1, 1, 2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_threads_change_nothing_but_the_time() -> None:
    alone, many = (spine_cell(label_every=2, threads=threads) for threads in (1, 4))
    for one, other in zip(alone.events(), many.events(), strict=True):
        assert type(one) is type(other) and one.stamp_ns == other.stamp_ns
        if isinstance(one, ImageEvent):
            assert one.image.tobytes() == other.image.tobytes()  # type: ignore[union-attr]


def test_a_reader_that_leaves_early_ends_the_threads() -> None:
    before = threading.active_count()
    events = spine_cell().events()
    while not isinstance(next(events), ImageEvent):
        pass
    assert threading.active_count() > before
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def iter_images(cell: ScanningCell) -> "filter[ImageEvent]":
    return filter(lambda event: isinstance(event, ImageEvent), cell.events())  # type: ignore[arg-type]


def test_frames_are_assembled_at_the_true_poses(labelled: ScanningCell) -> None:
    frames = list(labelled.tracked_frames())
    assert len(frames) == 6
    for frame, T in zip(frames, labelled.T_world_transducer, strict=True):
        np.testing.assert_allclose(frame.T_world_transducer, T, atol=0.02)
    assert [frame.label is not None for frame in frames] == [True, False] * 3
    # The label lies on bone: where it begins, the true surface is near.
    frame = frames[0]
    rows, columns = np.nonzero(frame.label)
    assert rows.size > 50
    pixels = np.column_stack([columns, rows]).astype(np.float64)
    where = np.column_stack([frame.geometry.pixels_to_mm(pixels), np.zeros(rows.size)])
    scene = transform_points(invert_rigid(labelled.T_world_mri) @ frame.T_world_transducer, where)
    distance = labelled.scene.bone_distance_mm(scene.astype(np.float32))  # type: ignore[attr-defined]
    assert np.percentile(distance, 99) < 0.8 and distance.min() > -5.0


def test_noisy_tracking_gives_frames_near_the_true_poses() -> None:
    cell = spine_cell(tracker=TrackerSettings(noise_mm=0.3, noise_deg=0.1, dropouts_per_s=0.0))
    offsets = [
        frame.T_world_transducer[:3, 3] - T[:3, 3]
        for frame, T in zip(cell.tracked_frames(), cell.T_world_transducer, strict=True)
    ]
    size = np.linalg.norm(offsets, axis=1)
    # Three axes of 0.3 mm and a lever of some 90 mm at 0.1 degrees, averaged between two poses.
    assert 0.05 < np.median(size) < 1.2 and size.max() < 2.0


def test_latency_is_undone_by_the_assemblers_offset() -> None:
    late = spine_cell(tracker=STEADY, image_latency_s=0.08)
    assert late.image_stamps_ns[0] - late.start_ns == 80_000_000
    frames = list(late.tracked_frames(AssemblerSettings(image_time_offset_s=-0.08)))
    assert len(frames) == 6
    for frame, T in zip(frames, late.T_world_transducer, strict=True):
        np.testing.assert_allclose(frame.T_world_transducer, T, atol=0.02)
    unaware = list(late.tracked_frames())
    # At 8 mm/s, 0.08 s are 0.64 mm.
    error = unaware[2].T_world_transducer[:3, 3] - late.T_world_transducer[2, :3, 3]
    assert np.linalg.norm(error) == pytest.approx(0.64, abs=0.1)


def test_calibration_error_has_the_asked_size() -> None:
    cell = spine_cell(tracker=TrackerSettings(calibration_error_mm=1.5, calibration_error_deg=2.0))
    error = invert_rigid(cell.T_probe_transducer) @ cell.T_probe_transducer_sent
    assert np.linalg.norm(error[:3, 3]) == pytest.approx(1.5)
    assert np.degrees(rotation_angle_rad(error)) == pytest.approx(2.0)


def test_first_guess_is_off_by_what_was_asked(labelled: ScanningCell) -> None:
    guess = labelled.initial_T_world_mri(4.0, 6.0)
    off = guess @ invert_rigid(labelled.T_world_mri)
    assert np.degrees(rotation_angle_rad(off)) == pytest.approx(6.0)
    middle = np.array([0.0, labelled.geometry.depth_mm / 2.0, 0.0])
    centre = transform_points(labelled.T_world_transducer[labelled.image_count // 2], middle)
    assert np.linalg.norm(transform_points(off, centre) - centre) == pytest.approx(4.0)


def test_truth_files_agree_with_the_cell(labelled: ScanningCell, tmp_path: Path) -> None:
    files = {path.name: path for path in write_truth(labelled, tmp_path / "truth")}
    assert set(files) == TRUTH_FILES
    known = json.loads(files["transforms.json"].read_text())
    np.testing.assert_allclose(known["T_world_mri"], labelled.T_world_mri)
    np.testing.assert_allclose(
        transform_points(labelled.T_world_mri, np.array(known["targets_mri"])),
        known["targets_world"],
        atol=1e-3,
    )
    np.testing.assert_allclose(
        read_tag_pairs(files["landmarks.tag"]), (known["targets_mri"], known["targets_world"])
    )
    mri = read_nifti(files["mri.nii.gz"])
    np.testing.assert_allclose(mri.T_space_index, labelled.mri.T_space_index, atol=1e-4)
    mesh = read_mesh(files["bone.ply"])
    in_scene = transform_points(invert_rigid(labelled.T_world_mri), mesh.vertices_mm)
    distance = labelled.scene.bone_distance_mm(in_scene)  # type: ignore[attr-defined]
    # The mesh is that of the 3 mm grid the scanner uses.
    assert np.median(np.abs(distance)) < 0.3


def test_visible_is_what_faces_the_probe_in_the_scanned_part(
    labelled: ScanningCell, tmp_path: Path
) -> None:
    files = {path.name: path for path in write_truth(labelled, tmp_path / "truth")}
    mesh, seen = read_mesh(files["bone.ply"]), np.load(files["visibility.npz"])
    visible = seen["visible"]
    assert str(seen["surface"]) == "bone" and visible.shape == (len(mesh.vertices_mm),)
    # Every point of a label's upper edge lies near a visible vertex, and every visible vertex
    # lies within the swept slab: 4 mm to both sides of the middle and 2 mm of slice.
    part = read_mesh(files["bone_visible.ply"])
    in_scene = transform_points(invert_rigid(labelled.T_world_mri), mesh.vertices_mm[visible])
    assert 100 < visible.sum() < 0.2 * len(visible)
    assert np.abs(in_scene[:, 2]).max() < 4.0 + 2.0 + 1.0
    assert 0 < len(part.triangles) < len(mesh.triangles)
    distance_mm = SurfaceQuery(part).distances_mm(first_label_points(labelled))
    # Triangles of the 3 mm grid that are seen in part are left out of the part.
    assert np.median(distance_mm) < 0.3 and distance_mm.max() < 3.0


def first_label_points(cell: ScanningCell) -> np.ndarray:
    """Return where the first labelled pixel of each column lies in the world."""
    frame = next(iter(cell.tracked_frames()))
    assert frame.label is not None
    columns = np.flatnonzero(frame.label.any(axis=0))
    rows = frame.label.argmax(axis=0)[columns]
    plane = frame.geometry.pixels_to_mm(np.column_stack([columns, rows]).astype(np.float64))
    return transform_points(frame.T_world_transducer, np.pad(plane, ((0, 0), (0, 1))))


def test_brain_cell_makes_images() -> None:
    cell = make_cell(
        "brain", "phased", 3, SweepSettings(sweep="fan", tilt_deg=4.0), None, CellSettings(**COARSE)
    )
    image = cell.image_event(1).image
    inside = image[cell.geometry.fan_mask]
    assert 30.0 < inside.mean() < 170.0 and inside.std() > 12.0
    assert not image[~cell.geometry.fan_mask].any()


@pytest.mark.parametrize(("scene", "probe"), [("lung", "linear"), ("spine", "matrix")])
def test_unknown_names_are_refused(scene: str, probe: str) -> None:
    with pytest.raises(InputError, match="expected one of"):
        make_cell(scene, probe)


def test_simulate_writes_a_bag_with_its_truth(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    bag = tmp_path / "virtual"
    arguments = "simulate spine --probe linear --seed 1 --sweep linear --length-mm 8 --speed-mm-s 8"
    arguments += " --image-rate-hz 5 --grid-mm 3 --label-every 3"
    parsed = parser.parse_args([*arguments.split(), "--out", str(bag)])
    assert parsed.run(parsed) == 0
    with BagReader(bag) as reader:
        events = list(reader.events())
    images = [event for event in events if isinstance(event, ImageEvent)]
    expected = next(
        iter_images(make_cell("spine", "linear", 1, SHORT, None, CellSettings(**COARSE)))
    )
    assert len(images) == 6
    np.testing.assert_array_equal(images[0].image, expected.image)
    assert sum(isinstance(event, LabelEvent) for event in events) == 2
    assert {path.name for path in truth_folder(bag).iterdir()} == TRUTH_FILES


def test_simulate_writes_arrays_with_the_truth_beside(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    arguments = "simulate spine --seed 1 --sweep linear --length-mm 4 --image-rate-hz 1 --grid-mm 3"
    arguments += " --patient fat_mm=9 --gain-db 3"
    out = ["--out", str(tmp_path / "scan.npz")]
    parsed = parser.parse_args([*arguments.split(), *out])
    assert parsed.run(parsed) == 0
    assert np.load(tmp_path / "scan.npz")["images"].shape[0] == 1
    assert {path.name for path in (tmp_path / "scan_truth").iterdir()} == TRUTH_FILES
    with pytest.raises(InputError, match="exists already"):
        parsed.run(parsed)


def test_the_settings_of_a_patient_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "brain", "--patient", "help"]) == 0
    printed = capsys.readouterr().out
    assert "shift_mm: Brain shift at the exposed cortex, inwards. [mm]" in printed
    assert "lesion: Lesion under the opening. One of none, solid, cystic." in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spine"], "--out is missing"),
        (["spine", "--patient", "fat=3", "--out", "x"], "no setting 'fat'; expected one of"),
        (["volume", "--out", "x"], "needs a file"),
        (["spine", "--length-mm", "900", "--out", "x"], "sweep leaves the scanned part"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_landmarks_follow_a_brain_shift() -> None:
    settings = CellSettings(**COARSE)
    still, moved = (
        make_cell("brain", "convex", 3, settings=settings, patient={"shift_mm": mm})
        for mm in (0.0, 8.0)
    )
    np.testing.assert_array_equal(still.T_world_mri, moved.T_world_mri)
    targets = still.targets_mm()
    apart_mm = np.linalg.norm(moved.in_world(targets) - still.in_world(targets), axis=1)
    # 8 mm at the cortex, less in depth, nowhere more.
    assert 0.5 < apart_mm.max() <= 8.0 and apart_mm.min() < apart_mm.max() / 2.0
