"""A real patient: RESECT case 24, with expert landmarks; benchmarks/resect24.py has the figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.geometry.rigid import Matrix4, exp_se3, make_rigid, nearest_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.imaging.volume import Volume
from us_recon.io.landmarks import read_tag_pairs
from us_recon.io.volumes import read_volume
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.simulation.reslice import sweep

PROBE = ProbeGeometry.sector(ProbeKind.CONVEX, 34.0, 40.0, depth_mm=45.0, width_px=180)
CENTRE_MM = np.array([41.0, 12.0, -4.0])  # of the landmarks
# As published, MRI and ultrasound are 1.1 mm apart: the identity is near the truth.
T_INITIAL = (
    make_rigid(np.eye(3), CENTRE_MM)
    @ exp_se3(np.array([2.5, -2.0, 2.0, 0.03, 0.02, -0.04]))
    @ make_rigid(np.eye(3), -CENTRE_MM)
)


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    return data_dir / "resect_case24"


@pytest.fixture(scope="module")
def frames(folder: Path) -> list[TrackedFrame]:
    ultrasound = read_volume(folder / "Case24_US.nii.gz")
    first = face_pose(ultrasound, (86.4, 53.0, 83.6), (-0.15, 0.0, -0.99))
    last = face_pose(ultrasound, (66.6, 53.0, 103.4), (-0.80, 0.0, -0.60))
    return list(sweep(ultrasound, PROBE, first, last, count=24))


@pytest.fixture(scope="module")
def flair(folder: Path) -> Volume:
    return read_volume(folder / "Case24_FLAIR_in_US_grid.nii.gz")


def face_pose(volume: Volume, face: tuple[float, ...], depth: tuple[float, ...]) -> Matrix4:
    """Pose of an array face at a voxel, with its lateral axis along index axis 1."""
    x, y = (volume.T_space_index[:3, :3] @ direction for direction in ([0.0, 1.0, 0.0], depth))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    origin = transform_points(volume.T_space_index, np.array(face))
    return nearest_rigid(make_rigid(np.column_stack([x, y, np.cross(x, y)]), origin))


def register(mri: Volume, frames: list[TrackedFrame]) -> RegistrationUpdate:
    registration = MriRegistration(mri)
    registration.set_initial(T_INITIAL)
    for frame in frames:
        registration.add_frame(frame)
    update = registration.step()
    assert update is not None
    return update


def test_frames_show_the_scanned_part(frames: list[TrackedFrame]) -> None:
    shares = [float((frame.image > 0).mean()) for frame in frames]
    assert min(shares) > 0.1 and np.median(shares) > 0.4
    assert not any(frame.image[~PROBE.fan_mask].any() for frame in frames)


def test_flair_is_registered(frames: list[TrackedFrame], flair: Volume, folder: Path) -> None:
    mri_points, us_points = read_tag_pairs(folder / "Case24-MRI-beforeUS.tag")

    def error_mm(T: Matrix4) -> float:
        return float(np.linalg.norm(transform_points(T, mri_points) - us_points, axis=1).mean())

    update = register(flair, frames)
    assert error_mm(T_INITIAL) > 3.0
    assert error_mm(update.T_world_mri) <= 2.0


def test_a_flipped_mri_is_not_trusted(frames: list[TrackedFrame], flair: Volume) -> None:
    flipped = replace(flair, data=np.ascontiguousarray(flair.data[::-1, ::-1, ::-1]))
    assert not register(flipped, frames).trusted
