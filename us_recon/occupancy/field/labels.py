"""Label losses that do not ask of a view what it could not see."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from us_recon.occupancy.field.render import Beams

WALL_MM = 3.0  # how far to either side of a wall counts as beside it
BEHIND_MM = 3.0  # nothing is said of what lies deeper behind a surface
# How far in front counts as just in front: as far, for samples to be as dense on both sides of a
# surface. Where they are denser in front, the surface moves away from the probe, by 0.05 mm.
FRONT_MM = BEHIND_MM


@dataclass(frozen=True, eq=False)
class DepthSamples:
    """Depths along beams at which occupancy is known.

    Attributes:
        depth_mm: Some depths for each beam.
        occupied: What is known there, 0 or 1.
        weight: How much that counts; 0 where nothing is known.
    """

    depth_mm: Float32[np.ndarray, "n depths"]
    occupied: Float32[np.ndarray, "n depths"]
    weight: Float32[np.ndarray, "n depths"]


def balanced_samples(
    surface_mm: Float32[np.ndarray, " n"],
    weight: Float32[np.ndarray, " n"],
    labelled: Bool[np.ndarray, " n"],
    deepest_mm: float,
    chance: Float32[np.ndarray, "n 3"],
) -> DepthSamples:
    """Draw a third of the samples in free space, a third just in front and a third behind.

    A beam without surface in a labelled frame is free throughout; elsewhere it says nothing.

    Args:
        surface_mm: Depth of the surface, NaN for none.
        weight: How much each beam counts.
        labelled: Whether it belongs to a labelled frame.
        deepest_mm: How far a beam without surface is taken for free.
        chance: 0 to 1.
    """
    none = np.isnan(surface_mm)
    depth = np.where(none, np.float32(deepest_mm), surface_mm)
    free = chance[:, 0] * np.maximum(depth - np.float32(FRONT_MM), 0)
    front = depth - chance[:, 1] * np.float32(FRONT_MM)
    behind = depth + chance[:, 2] * np.float32(BEHIND_MM)
    occupied = np.broadcast_to(np.array([0, 0, 1], np.float32), chance.shape)
    counted = np.stack([weight, weight, weight], axis=1)
    counted[none] = np.where(labelled[none], weight[none], 0)[:, None] * np.array(
        [2.0, 0.0, 0.0], np.float32
    )
    return DepthSamples(np.stack([free, front, behind], axis=1), occupied, counted)


def region_samples(
    outside_mm: Float32[np.ndarray, "n samples"],
    depths_mm: Float32[np.ndarray, " samples"],
    chance: Float32[np.ndarray, "n 4"],
) -> DepthSamples:
    """Draw samples deep inside a target, just inside its wall, just outside and further away.

    Both sides of the wall weigh alike at the same distance from it, so that neither draws it over.
    A kind of which a beam has no sample weighs nothing there.

    Args:
        outside_mm: Distance of each sample to the wall, below 0 inside; NaN: nothing is known.
        depths_mm: Where the samples lie.
        chance: 0 to 1, below 1.
    """
    near = np.abs(outside_mm) <= WALL_MM  # NaN: false
    kinds = np.stack(
        [~near & (outside_mm < 0), near & (outside_mm < 0), near & (outside_mm >= 0),
         ~near & (outside_mm >= 0)], axis=1,
    )  # fmt: skip
    counted = np.cumsum(kinds, axis=2)
    count = counted[..., -1]
    wanted = (chance * count).astype(np.int64)
    sample = (counted > wanted[..., None]).argmax(axis=2)
    occupied = np.broadcast_to(np.array([1, 1, 0, 0], np.float32), chance.shape)
    return DepthSamples(depths_mm[sample], occupied, (count > 0).astype(np.float32))


def cross_entropy_gradient(
    occupancy: Float32[np.ndarray, "*n"],
    occupied: Float32[np.ndarray, "*n"],
    weight: Float32[np.ndarray, "*n"],
) -> Float32[np.ndarray, "*n"]:
    """Return the gradient of weighted BCE with respect to the log-odds."""
    return weight * (occupancy - occupied)


def transmitted_gradient(
    occupancy: Beams, transmission: Beams, occupied: Beams, weight: Beams
) -> Beams:
    """Return the gradient of ``BCE(T_v o, label)`` with respect to the log-odds of o.

    The transmission of the view is taken as given (UltrON): in full shadow the view sees nothing
    whatever o is, so that a label of 0 there costs nothing.
    """
    visible = transmission * occupancy
    # d BCE / dp = (p - y) / (p (1 - p)), dp / do = T and do / dlogit = o (1 - o); T o = p cancels.
    rest = np.maximum(np.float32(1) - visible, np.float32(1e-4))
    return weight * (visible - occupied) * (np.float32(1) - occupancy) / rest
