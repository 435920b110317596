"""The registration methods undo a small offset, and cannot where the MRI is another one's."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.registration_methods import (
    REGISTRATION_METHODS,
    SEARCH,
    identity,
    nelder_mead,
    registrar,
)
from us_recon.geometry.rigid import Matrix4, make_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.settings import RegistrationSettings

POINTS = np.array([[-15.0, -15.0, 0.0], [15.0, -15.0, 5.0], [0.0, 15.0, -5.0], [10.0, 5.0, 5.0]])
# About the middle of the images, which lies at the MRI's origin.
OFFSET = make_rigid(Rotation.from_euler("xyz", [1.0, -2.0, 1.0], degrees=True).as_matrix(),
                    np.array([1.5, -1.0, 1.0]))  # fmt: skip


def error_mm(T: Matrix4, T_world_mri: Matrix4) -> float:
    off = transform_points(T, POINTS) - transform_points(T_world_mri, POINTS)
    return float(np.linalg.norm(off, axis=1).mean())


def test_the_start_is_off(T_world_mri: Matrix4) -> None:
    assert error_mm(T_world_mri @ OFFSET, T_world_mri) > 2.0


def test_the_table_has_a_row_for_each_class_of_method() -> None:
    assert list(REGISTRATION_METHODS) == [
        "identity", "search", "search, LC2 alone", "search, tissue alone", "local",
        "LC2 with Nelder-Mead", "mutual information",
    ]  # fmt: skip


def test_identity_leaves_the_start(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    outcome = identity(brain_frames, mri_of(1), T_world_mri @ OFFSET)
    np.testing.assert_array_equal(outcome.T_world_mri, T_world_mri @ OFFSET)
    assert outcome.accepted is None


def test_nelder_mead_finds_the_pose(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    outcome = nelder_mead(400)(brain_frames, mri_of(1), T_world_mri @ OFFSET)
    assert error_mm(outcome.T_world_mri, T_world_mri) < 0.3
    assert outcome.accepted is None


def test_nelder_mead_keeps_to_its_budget(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    outcome = nelder_mead(7)(brain_frames, mri_of(1), T_world_mri @ OFFSET)
    assert error_mm(outcome.T_world_mri, T_world_mri) > 0.5


def test_nelder_mead_does_not_find_another_brain(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    outcome = nelder_mead(200)(brain_frames, mri_of(2), T_world_mri @ OFFSET)
    assert error_mm(outcome.T_world_mri, T_world_mri) > 1.0


def test_the_registrar_gives_its_judgement(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    local = replace(RegistrationSettings(), start_count=0)
    outcome = registrar(local)(brain_frames, mri_of(1), T_world_mri @ OFFSET)
    assert outcome.update is not None and outcome.accepted is outcome.update.trusted
    assert error_mm(outcome.T_world_mri, T_world_mri) < 0.3


def test_too_few_frames_are_not_accepted(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    outcome = REGISTRATION_METHODS[SEARCH](brain_frames[:1], mri_of(1), T_world_mri @ OFFSET)
    assert outcome.accepted is False and outcome.update is None


@pytest.mark.usefixtures("simpleitk")
def test_mutual_information_finds_the_pose(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    method = REGISTRATION_METHODS["mutual information"]
    outcome = method(brain_frames, mri_of(1), T_world_mri @ OFFSET)
    assert error_mm(outcome.T_world_mri, T_world_mri) < 1.0


@pytest.mark.usefixtures("simpleitk")
def test_mutual_information_repeats(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    method = REGISTRATION_METHODS["mutual information"]
    one, other = (method(brain_frames, mri_of(1), T_world_mri @ OFFSET) for _ in range(2))
    np.testing.assert_array_equal(one.T_world_mri, other.T_world_mri)


@pytest.mark.usefixtures("simpleitk")
def test_mutual_information_keeps_the_start_where_nothing_overlaps(
    brain_frames: list[TrackedFrame], mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    far = make_rigid(np.eye(3), np.array([500.0, 0.0, 0.0])) @ T_world_mri
    outcome = REGISTRATION_METHODS["mutual information"](brain_frames, mri_of(1), far)
    np.testing.assert_array_equal(outcome.T_world_mri, far)


@pytest.mark.usefixtures("simpleitk")
def test_an_upright_volume_holds_the_same_values(
    mri_of: Callable[[int], Volume], T_world_mri: Matrix4
) -> None:
    from benchmarks.mutual_information import upright

    mri = mri_of(1)
    turned = Volume(mri.data, T_world_mri @ mri.T_space_index)
    points = transform_points(T_world_mri, POINTS)
    # Interpolated twice, from noise that is smooth over 3 mm.
    np.testing.assert_allclose(upright(turned).sample(points), mri.sample(POINTS), atol=5.0)
