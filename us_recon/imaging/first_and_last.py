"""Which part of a beam says something."""

import numpy as np
from jaxtyping import Bool


def between_first_and_last(
    echoes: Bool[np.ndarray, "*beams samples"],
) -> Bool[np.ndarray, "*beams samples"]:
    """Mark each beam from its first echo to its last.

    Dark with echoes behind it is fluid and says something; dark with none behind it is shadow,
    missing contact or the edge of the image, and says nothing.
    """
    before = np.logical_or.accumulate(echoes, axis=-1)
    behind = np.logical_or.accumulate(echoes[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(before & behind)
