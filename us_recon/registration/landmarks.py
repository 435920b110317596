"""A first guess from pairs of points that a person found in the MRI and in the ultrasound."""

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, make_rigid, transform_points

_LEAST_PAIRS = 3
_LEAST_WIDTH = 1e-3
"""Second singular value relative to the first below which points lie on a line."""


def fit_rigid(
    source_mm: Float64[np.ndarray, "n 3"], target_mm: Float64[np.ndarray, "n 3"]
) -> Matrix4:
    """Return the rigid transform that takes points nearest to their partners (least squares).

    Raises:
        InputError: Fewer than three pairs, or all on one line: the turn about it is unknown.
    """
    if len(source_mm) < _LEAST_PAIRS:
        raise InputError(f"{len(source_mm)} landmark pairs; expected {_LEAST_PAIRS} or more")
    from_centre = source_mm - source_mm.mean(axis=0)
    to_centre = target_mm - target_mm.mean(axis=0)
    for points, where in ((from_centre, "MRI"), (to_centre, "world")):
        sizes = np.linalg.svd(points, compute_uv=False)
        if sizes[1] <= _LEAST_WIDTH * sizes[0]:
            raise InputError(f"the landmarks lie on a line in the {where}; expected a triangle")
    rotation = Rotation.align_vectors(to_centre, from_centre)[0].as_matrix()
    return make_rigid(rotation, target_mm.mean(axis=0) - rotation @ source_mm.mean(axis=0))


def residual_mm(
    T_target_source: Float64[np.ndarray, "4 4"],
    source_mm: Float64[np.ndarray, "n 3"],
    target_mm: Float64[np.ndarray, "n 3"],
) -> float:
    """Return the root mean square distance of points from their partners."""
    offsets = transform_points(T_target_source, source_mm) - target_mm
    return float(np.sqrt((offsets**2).sum(axis=1).mean()))


class ClickedLandmarks:
    """Points that a person clicks one after the other: the k-th is the k-th of the MRI.

    Args:
        mri_mm: Landmarks of the MRI, in the order in which they are to be clicked.

    Raises:
        InputError: Fewer than three landmarks, or all on one line.
    """

    def __init__(self, mri_mm: Float64[np.ndarray, "n 3"]) -> None:
        fit_rigid(mri_mm, mri_mm)  # tells what is wrong with them before anybody clicks
        self._mri_mm = mri_mm
        self.restart()

    def restart(self) -> None:
        """Forget the points: the next one is the first again."""
        self._world_mm: list[Float64[np.ndarray, 3]] = []
        self.message = f"0 of {len(self._mri_mm)} landmarks clicked; click the first"

    def click(self, world_mm: Float64[np.ndarray, "3"]) -> Matrix4 | None:
        """Take the next point; return the pose of the MRI once there are three or more.

        Raises:
            InputError: All landmarks have been clicked, or the points so far lie on a line.
        """
        count, total = len(self._world_mm), len(self._mri_mm)
        if count == total:
            raise InputError(f"all {total} landmarks were clicked already; restart the sequence")
        self._world_mm.append(world_mm)
        count += 1
        following = f"; click number {count + 1}" if count < total else ""
        self.message = f"{count} of {total} landmarks clicked{following}"
        if count < _LEAST_PAIRS:
            return None
        mri, world = self._mri_mm[:count], np.array(self._world_mm)
        T_world_mri = fit_rigid(mri, world)
        off_mm = residual_mm(T_world_mri, mri, world)
        self.message = (
            f"{count} of {total} landmarks clicked, {off_mm:.1f} mm apart (RMS){following}"
        )
        return T_world_mri
