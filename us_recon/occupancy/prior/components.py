"""Principal components of signed distances, some of which are unknown."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

_ROUNDS = 30
_SETTLED = 1e-4  # relative change of the unknown values at which rounds end


@dataclass(frozen=True, eq=False)
class Components:
    """Mean and modes.

    Attributes:
        mean: Mean over the subjects.
        modes: Each scaled by its standard deviation over the subjects.
        scores: Coefficients of the subjects, in units of standard deviations.
        explained: Share of the weighted variance that the modes explain, 0 to 1.
    """

    mean: Float32[np.ndarray, " voxels"]
    modes: Float32[np.ndarray, "modes voxels"]
    scores: Float64[np.ndarray, "subjects modes"]
    explained: float


def principal_components(
    values: Float32[np.ndarray, "subjects voxels"],
    known: Bool[np.ndarray, "subjects voxels"],
    weight: Float32[np.ndarray, " voxels"],
    modes: int,
) -> Components:
    """Return the mean and the modes of largest variance.

    Unknown values are first the mean of the known ones and then, in rounds, what the modes say of
    them (Troyanskaya et al. 2001). Where all is known this is plain weighted principal component
    analysis by the small matrix of inner products (Turk and Pentland 1991).

    Args:
        values: One subject a row.
        known: Which of the values are known; the others are not looked at.
        weight: How much each voxel counts, 0 or more.
        modes: How many modes to keep at most; there are never more than subjects less one, nor any
            without variance.
    """
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / count
    filled = np.where(known, values, mean.astype(np.float32))
    found = _decomposed(filled, weight, modes)
    if known.all():
        return found
    for _ in range(_ROUNDS):
        guess = found.mean + found.scores.astype(np.float32) @ found.modes
        change = np.abs(np.where(known, 0, guess - filled)).max()
        filled = np.where(known, values, guess)
        found = _decomposed(filled, weight, modes)
        if change < _SETTLED * np.abs(filled).max():
            break
    return found


def _decomposed(
    values: Float32[np.ndarray, "subjects voxels"],
    weight: Float32[np.ndarray, " voxels"],
    modes: int,
) -> Components:
    mean = values.mean(axis=0)
    off = values - mean
    subjects = len(values)
    inner = (off * weight).astype(np.float64) @ off.T.astype(np.float64)
    variance, vectors = np.linalg.eigh(inner)
    order = np.argsort(variance)[::-1][: min(modes, subjects - 1)]
    order = order[variance[order] > 1e-9 * max(float(variance.sum()), 1e-30)]
    # Scores of variance 1 over the subjects; the mode then carries the standard deviation.
    scores = vectors[:, order] * np.sqrt(max(subjects - 1, 1))
    largest = np.abs(scores).argmax(axis=0)
    scores *= np.sign(scores[largest, np.arange(len(order))])  # eigenvectors have no sign
    shapes = scores.T.astype(np.float32) @ off / np.float32(max(subjects - 1, 1))
    total = float(variance.sum())
    explained = float(variance[order].sum()) / total if total > 0 else 1.0
    return Components(mean, shapes, scores, explained)
