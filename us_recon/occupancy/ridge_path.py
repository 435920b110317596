"""The most likely surface across the beams of one frame, by dynamic programming."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from us_recon.compiled import compiled


@dataclass(frozen=True, eq=False)
class RidgePath:
    """One sample index per beam, or none.

    Attributes:
        index: Sample of the surface on each beam, -1 where the beam shows none.
        margin: By how much the best path through this beam's sample beats the best path that
            leaves the beam without one; 0 where the beam shows none.
    """

    index: Int64[np.ndarray, " beams"]
    margin: Float32[np.ndarray, " beams"]


def best_path(
    evidence: Float32[np.ndarray, "beams samples"], slope_cost: float, switch_cost: float
) -> RidgePath:
    """Find the path across the beams that collects most evidence.

    Every beam is at one sample or at "none". A sample earns its evidence, "none" earns 0; moving
    by n samples between neighbours costs ``n * slope_cost``; starting or ending a stretch of
    surface inside the image costs `switch_cost`. The path is read from the max-marginals of a
    forward and a backward Viterbi pass, which also tell how much better it is than no surface.

    Args:
        evidence: (beams, samples); above 0 speaks for a surface there, below 0 against it.
        slope_cost: Cost of one sample of depth change, 0 or more.
        switch_cost: Cost of a start or an end of a stretch, 0 or more.
    """
    forward, forward_none = _pass(evidence, slope_cost, switch_cost)
    backward, backward_none = _pass(evidence[::-1], slope_cost, switch_cost)
    # Both passes count the beam's own evidence.
    through = forward + backward[::-1] - evidence
    without = forward_none + backward_none[::-1]
    index = through.argmax(axis=1)
    margin = through[np.arange(len(through)), index] - without
    found = margin > 0
    return RidgePath(
        index=np.where(found, index, -1).astype(np.int64),
        margin=np.where(found, margin, 0).astype(np.float32),
    )


def _pass(
    evidence: Float32[np.ndarray, "beams samples"], slope_cost: float, switch_cost: float
) -> tuple[Float32[np.ndarray, "beams samples"], Float32[np.ndarray, " beams"]]:
    """Return the best total up to each beam that ends at each sample, and at "none"."""
    beams, samples = evidence.shape
    ramp = np.arange(samples, dtype=np.float32) * np.float32(slope_cost)
    totals, none = np.empty((beams, samples), np.float32), np.zeros(beams, np.float32)
    totals[0] = evidence[0]
    _carry(np.ascontiguousarray(evidence), ramp, np.float32(switch_cost), totals, none)
    return totals, none


@compiled
def _carry(
    evidence: Float32[np.ndarray, "beams samples"],
    ramp: Float32[np.ndarray, " samples"],
    switch_cost: float,
    totals: Float32[np.ndarray, "beams samples"],
    none: Float32[np.ndarray, " beams"],
) -> None:
    """Fill in the totals from beam to beam."""
    for beam in range(1, evidence.shape[0]):
        before, here = totals[beam - 1], totals[beam]
        stopped = none[beam - 1] - switch_cost
        # max over j of before[j] - slope_cost * |i - j|: once from each side.
        best = before[-1] - ramp[-1]
        for i in range(evidence.shape[1] - 1, -1, -1):
            best = max(best, before[i] - ramp[i])
            here[i] = best + ramp[i]
        best = before[0] + ramp[0]
        most = before[0]
        for i in range(evidence.shape[1]):
            best = max(best, before[i] + ramp[i])
            most = max(most, before[i])
            here[i] = max(best - ramp[i], here[i], stopped) + evidence[beam, i]
        none[beam] = max(none[beam - 1], most - switch_cost)
