"""Two small packages of the ROS distributions, and what stands in where they are not installed.

`sensor_msgs_py` and `tf_transformations` come with a distribution's packages only. Both forms give
the same results, which the tests check wherever the packages are.
"""

from array import array
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from us_recon.geometry.rigid import from_euler_xyz_deg

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


cloud_message: Callable[[Header, Float32[np.ndarray, "points 3"]], PointCloud2]
rpy_matrix: Callable[[float, float, float], Float64[np.ndarray, "4 4"]]

try:
    from sensor_msgs_py.point_cloud2 import create_cloud_xyz32 as cloud_message
except ImportError:
    cloud_message = packed_cloud

try:
    from tf_transformations import euler_matrix as rpy_matrix
except ImportError:
    rpy_matrix = matrix_of_rpy
