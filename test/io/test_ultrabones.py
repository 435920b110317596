from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.imaging.events import GeometryEvent, ImageEvent, PoseEvent
from us_recon.io.ultrabones import read_leg_recording

HEADER = "timestamp,space_factor,x,y,z,euler_x,euler_y,euler_z\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "UltrasoundImages"
    images.mkdir()
    for number, stamp_ms in enumerate((1000, 1100)):
        cv2.imwrite(str(images / f"{stamp_ms}.png"), np.full((4, 6), number, np.uint8))
    rows = "1100,0.5,1,2,3,10,20,30\n1000,0.5,0,0,0,0,0,0\n1200,0.5,0,0,0,0,0,0\n"
    (tmp_path / "sweep.csv").write_text(HEADER + rows)
    return tmp_path


def test_images_and_poses_in_order_of_time(folder: Path) -> None:
    recording = read_leg_recording(folder)
    assert recording.stamps_ns == (1_000_000_000, 1_100_000_000)
    assert recording.without_image == 1  # 1200.png is not there
    assert (recording.image(1) == 1).all()
    np.testing.assert_array_equal(recording.poses[0], np.eye(4))
    kinds = [type(event) for event in recording.events()]
    assert kinds == [PoseEvent, GeometryEvent, PoseEvent, ImageEvent, PoseEvent, ImageEvent]


def test_a_pixel_lies_where_the_collection_puts_it(folder: Path) -> None:
    # M(row) @ CAL @ diag(s, s, 1, 1) @ (column + 0.5, row + 0.5, 0, 1), written out anew.
    def matrix(translation: list[float], euler_deg: list[float]) -> np.ndarray:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("xyz", euler_deg, degrees=True).as_matrix()
        T[:3, 3] = translation
        return T

    calibration = matrix(
        [26.44694442, -0.52572229, 128.00100047], [92.48865621, -0.46874914, 179.2277322]
    )
    pose = matrix([1, 2, 3], [10, 20, 30])
    expected = pose @ calibration @ np.diag([0.5, 0.5, 1, 1]) @ [2.5, 1.5, 0, 1]
    _, frame = read_leg_recording(folder).tracked_frames()
    np.testing.assert_allclose(frame.T_world_image @ [2, 1, 0, 1], expected, atol=1e-9)


def test_the_geometry_fills_the_image(folder: Path) -> None:
    geometry = read_leg_recording(folder).geometry
    assert (geometry.width_mm, geometry.depth_mm) == (3.0, 2.0)
    assert geometry.fan_mask.all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "expected one table of poses"),
        ("timestamp,x,y\n1,2,3\n", "columns space_factor, z, euler_x"),
        (HEADER + "1000,0.5,0,0,zero,0,0,0\n", "line 2.*expected numbers"),
        (HEADER + "1000,0.5,0,0,nan,0,0,0\n", "line 2.*finite"),
        (HEADER + "1000,0.5,0,0,0,0,0,0\n1100,0.6,0,0,0,0,0,0\n", r"space_factor is \[0.5, 0.6\]"),
        (HEADER + "5,0.5,0,0,0,0,0,0\n", "none of the 1 images"),
    ],
)
def test_damaged_recordings_are_named(folder: Path, table: str | None, message: str) -> None:
    (folder / "sweep.csv").unlink()
    if table is not None:
        (folder / "sweep.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_leg_recording(folder)


def test_a_damaged_image_is_named(folder: Path) -> None:
    recording = read_leg_recording(folder)
    path = folder / "UltrasoundImages" / "1100.png"
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1100\.png is not an image"):
        recording.image(1)
    cv2.imwrite(str(path), np.zeros((5, 6), np.uint8))
    with pytest.raises(InputError, match="has \\(5, 6\\) rows and columns"):
        recording.image(1)


def test_the_real_leg(data_dir: Path) -> None:
    recording = read_leg_recording(data_dir / "ultrabones_leg")
    assert len(recording.poses) == 136 and recording.without_image == 0
    assert recording.geometry.depth_mm == pytest.approx(43.7, abs=0.05)
    assert recording.geometry.width_mm == pytest.approx(51.2, abs=0.05)
    frame = next(recording.tracked_frames())
    # The fibula's surface lies within the depth of the first image, in the frame of the poses.
    T = np.linalg.inv(frame.T_world_transducer)
    stl = (data_dir / "ultrabones_leg" / "Fibula.stl").read_bytes()
    triangles = np.frombuffer(
        stl[84:], dtype=[("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("_", "<u2")]
    )
    local = triangles["vertices"].reshape(-1, 3).astype(np.float64) @ T[:3, :3].T + T[:3, 3]
    in_plane = local[np.abs(local[:, 2]) < 1.0]
    assert len(in_plane) > 0 and (in_plane[:, 1] > 0.0).any() and (in_plane[:, 1] < 43.7).any()
