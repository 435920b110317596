"""Two small packages of the ROS distributions, and what stands in where they are not installed.

`sensor_msgs_py` and `tf_transformations` come with a distribution's packages only. Both forms give
the same results, which the tests check wherever the packages are.
"""

from array import array
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float32, Float64
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from us_recon.geometry.rigid import from_euler_xyz_deg

T = TypeVar("T")

_POINT_BYTES = 12


def packed_cloud(header: Header, points_m: Float32[np.ndarray, "points 3"]) -> PointCloud2:
    """Return points as an unordered cloud of float32 x, y, z."""
    data = array("B")
    data.frombytes(np.ascontiguousarray(points_m, dtype="<f4").tobytes())
    return PointCloud2(
        header=header,
        height=1,
        width=len(points_m),
        fields=[
            PointField(name=name, offset=4 * axis, datatype=PointField.FLOAT32, count=1)
            for axis, name in enumerate("xyz")
        ],
        is_bigendian=False,
        point_step=_POINT_BYTES,
        row_step=_POINT_BYTES * len(points_m),
        data=data,
        is_dense=True,
    )


def matrix_of_rpy(roll: float, pitch: float, yaw: float) -> Float64[np.ndarray, "4 4"]:
    """Return the rotation of fixed-axis roll, pitch, yaw (rad) as a 4x4 matrix (REP 103)."""
    return from_euler_xyz_deg(np.zeros(3), np.degrees([roll, pitch, yaw]))


def _installed(module: str, name: str, stand_in: Callable[..., T]) -> Callable[..., T]:
    try:
        return cast("Callable[..., T]", getattr(import_module(module), name))
    except ImportError:
        return stand_in


cloud_message = _installed("sensor_msgs_py.point_cloud2", "create_cloud_xyz32", packed_cloud)
rpy_matrix = _installed("tf_transformations", "euler_matrix", matrix_of_rpy)
