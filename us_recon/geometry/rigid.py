"""Rigid transforms in NumPy, float64, as 4x4 matrices acting on column vectors.

`T_target_source` maps points: ``p_target = T_target_source @ p_source``. Twists are
``(v_mm, w_rad)``, translation first, and `exp_se3` is the exponential of the matrix
``[[w]x, v; 0, 0]`` (Barfoot, State Estimation for Robotics, 2017, sec. 7.1).
"""

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from us_recon.errors import InputError

Matrix4 = Float64[np.ndarray, "4 4"]


def identity() -> Matrix4:
    """Return the transform that changes nothing, for use as a neutral start of a product."""
    return np.eye(4)


def make_rigid(
    rotation: Float64[np.ndarray, "3 3"], translation_mm: Float[np.ndarray, "3"]
) -> Matrix4:
    """Return the 4x4 transform with this rotation and translation (mm)."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation_mm
    return T


def is_rigid(T: Float64[np.ndarray, "4 4"], tolerance: float = 1e-4) -> bool:
    """Tell whether `T` is finite, orthonormal and right-handed within `tolerance`."""
    if not np.all(np.isfinite(T)):
        return False
    R = T[:3, :3]
    orthonormal = np.abs(R @ R.T - np.eye(3)).max() < tolerance
    last_row = np.abs(T[3] - [0.0, 0.0, 0.0, 1.0]).max() < tolerance
    return bool(orthonormal and last_row and np.linalg.det(R) > 0)


def nearest_rigid(T: Float64[np.ndarray, "4 4"]) -> Matrix4:
    """Return `T` with its 3x3 part replaced by the closest rotation (Frobenius norm, by SVD)."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    sign = np.sign(np.linalg.det(U @ Vt))
    return make_rigid(U @ np.diag([1.0, 1.0, sign]) @ Vt, T[:3, 3])


def invert_rigid(T: Float64[np.ndarray, "4 4"]) -> Matrix4:
    """Return the inverse of a rigid transform."""
    R = T[:3, :3]
    return make_rigid(R.T, -R.T @ T[:3, 3])


def transform_points(
    T: Float64[np.ndarray, "4 4"], points: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3"]:
    """Map points (..., 3) by a 4x4 affine transform; the points' floating type is kept."""
    R, t = T[:3, :3].astype(points.dtype), T[:3, 3].astype(points.dtype)
    moved: NDArray[np.floating] = points @ R.T + t
    return moved


def exp_se3(twist: Float64[np.ndarray, "6"]) -> Matrix4:
    """Return the rigid transform of a twist ``(v_mm, w_rad)`` (Barfoot 2017, eq. 7.37)."""
    v, w = twist[:3], twist[3:]
    return make_rigid(Rotation.from_rotvec(w).as_matrix(), _left_jacobian(w) @ v)


def log_se3(T: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "6"]:
    """Return the twist ``(v_mm, w_rad)`` of a rigid transform, rotation angle in [0, pi]."""
    w = Rotation.from_matrix(T[:3, :3]).as_rotvec()
    return np.concatenate([np.linalg.solve(_left_jacobian(w), T[:3, 3]), w])


def _left_jacobian(w: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    angle = float(np.linalg.norm(w))
    W = np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])
    if angle < 1e-4:  # the closed form divides by angle^3; the series is exact to 1e-13 here
        return np.eye(3) + W / 2.0 + W @ W / 6.0
    first = (1.0 - np.cos(angle)) / angle**2
    second = (angle - np.sin(angle)) / angle**3
    return np.eye(3) + first * W + second * (W @ W)


def rotation_angle_rad(T: Float64[np.ndarray, "4 4"]) -> float:
    """Return the angle of the transform's rotation, radians in [0, pi]."""
    return float(Rotation.from_matrix(T[:3, :3]).magnitude())


def interpolate_rigid(
    T0: Float64[np.ndarray, "4 4"], T1: Float64[np.ndarray, "4 4"], fraction: float
) -> Matrix4:
    """Interpolate between two poses: translation linearly, rotation by slerp.

    Args:
        T0: Pose at fraction 0.
        T1: Pose at fraction 1.
        fraction: Position between the two, 0 to 1.

    Raises:
        InputError: `fraction` lies outside [0, 1]; poses are never extrapolated.
    """
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"fraction is {fraction}; expected 0 to 1, poses are not extrapolated")
    slerp = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([T0[:3, :3], T1[:3, :3]])))
    translation = (1.0 - fraction) * T0[:3, 3] + fraction * T1[:3, 3]
    return make_rigid(slerp(fraction).as_matrix(), translation)


def quaternion_to_rotation(xyzw: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "3 3"]:
    """Return the rotation matrix of a quaternion in xyzw order.

    Raises:
        InputError: The quaternion is not finite or not of unit length (within 1e-2), as an
            all-zero default message is: it says nothing about orientation.
    """
    norm = float(np.linalg.norm(xyzw))
    if not np.isfinite(norm) or abs(norm - 1.0) > 1e-2:
        raise InputError(f"quaternion {xyzw.tolist()} has length {norm:.3g}; expected 1")
    return np.asarray(Rotation.from_quat(xyzw).as_matrix(), dtype=np.float64)


def rotation_to_quaternion(rotation: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "4"]:
    """Return the unit quaternion xyzw of a rotation matrix, with w >= 0."""
    return np.asarray(Rotation.from_matrix(rotation).as_quat(canonical=True), dtype=np.float64)


def from_euler_xyz_deg(
    translation_mm: Float[np.ndarray, "3"], euler_deg: Float[np.ndarray, "3"]
) -> Matrix4:
    """Return the transform of a translation and extrinsic x, y, z rotations in degrees."""
    rotation = Rotation.from_euler("xyz", euler_deg, degrees=True).as_matrix()
    return make_rigid(rotation, translation_mm)
