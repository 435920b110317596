"""A first guess from pairs of points that a person found in the MRI and in the ultrasound."""

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, make_rigid

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
