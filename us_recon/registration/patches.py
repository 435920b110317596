"""The patches of a window that are compared: all of them, overlapping, or a few spread out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32

from us_recon.registration.observation import BeamWindow

LEAST_FILLING = 0.5
"""Patches with less than this share of usable samples do not count; from there to a full patch
the weight rises linearly, so that no patch appears or vanishes at once."""

_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Patches:
    """Samples of a window, and which of them make up each patch.

    Attributes:
        points_world_mm: Positions of the samples that some patch uses, from the images' centre.
        values: Measured brightness there, of mean 0 and variance 1.
        valid: 1 where the image shows tissue.
        members: The samples of each patch.
        weight: Weight of each patch, ``1 / (variance + median variance)``.
        variance: Variance of the measured brightness in each patch.
        total: Weighted variance of all patches, as far as the images fill them.
        centre_world_mm: The images' centre.
    """

    points_world_mm: Float32[np.ndarray, "n 3"]
    values: Float32[np.ndarray, " n"]
    valid: Float32[np.ndarray, " n"]
    members: Int32[np.ndarray, "patches k"]
    weight: Float32[np.ndarray, " patches"]
    variance: Float32[np.ndarray, " patches"]
    total: float
    centre_world_mm: Float64[np.ndarray, "3"]


def make_patches(
    window: BeamWindow, size: int, stride: int, max_patches: int | None = None
) -> Patches:
    """Cut a window into patches.

    Args:
        window: Frames, from `observe`.
        size: Edge of a patch in samples.
        stride: Samples from one patch to the next.
        max_patches: Most patches; if there are more, every so many-th is taken.
    """
    shape = window.values.shape
    values, valid = window.values.numpy().ravel(), window.valid.numpy().ravel()
    members = _members(shape, min(size, *shape[1:]), stride)
    members = members[valid[members].mean(axis=1) > LEAST_FILLING]
    filling, variance = _filling_and_variance(values[members], valid[members])
    weight = 1.0 / (variance + max(float(np.median(variance)) if len(variance) else 1.0, _TINY))
    if max_patches is not None and len(members) > max_patches:
        # Steps of the golden ratio: spread over all frames, and in step with no row of patches.
        order = np.argsort((np.arange(len(members)) * 0.6180339887498949) % 1.0, kind="stable")
        chosen = np.sort(order[:max_patches])
        members, weight, variance = members[chosen], weight[chosen], variance[chosen]
        filling = filling[chosen]
    gate = np.clip((filling - LEAST_FILLING) / (1.0 - LEAST_FILLING), 0.0, 1.0)
    used, place = np.unique(members, return_inverse=True)
    points = window.points_world_mm.numpy().reshape(-1, 3)[used].astype(np.float64)
    return Patches(
        points_world_mm=(points - window.centre_world_mm).astype(np.float32),
        values=values[used],
        valid=valid[used],
        members=place.reshape(members.shape).astype(np.int32),
        weight=weight.astype(np.float32),
        variance=variance.astype(np.float32),
        total=float((gate * weight * variance).sum()),
        centre_world_mm=window.centre_world_mm,
    )


def _members(shape: tuple[int, ...], size: int, stride: int) -> Int32[np.ndarray, "patches k"]:
    """Return the flat indices of the samples of all patches."""
    frames, beams, samples = shape
    first = (
        np.arange(frames)[:, None, None] * beams * samples
        + np.arange(0, beams - size + 1, stride)[:, None] * samples
        + np.arange(0, samples - size + 1, stride)
    )
    within = (np.arange(size)[:, None] * samples + np.arange(size)).ravel()
    return (first.reshape(-1, 1) + within).astype(np.int32)


def _filling_and_variance(
    u: Float32[np.ndarray, "patches k"], w: Float32[np.ndarray, "patches k"]
) -> tuple[Float32[np.ndarray, " patches"], Float32[np.ndarray, " patches"]]:
    count = np.maximum(w.sum(axis=1), 0.5)
    mean = (w * u).sum(axis=1) / count
    return w.mean(axis=1), (w * (u - mean[:, None]) ** 2).sum(axis=1) / count
