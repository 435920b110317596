"""A surface in parts, one for each block of voxels, and how they are put together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.pairs import distinct_pairs

_HALF_CERTAIN = 2.0  # weight of frames at which a vertex counts as half certain

Keys = Int64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Pieces:
    """The parts of a surface, in the order of their blocks' keys.

    A vertex on the border of blocks is in the part of each block that needs it.

    Attributes:
        keys: Key of each block (see `block_keys`).
        vertex_count: Vertices of each block, which follow each other in the arrays below.
        triangle_count: Likewise triangles.
        home: Key of the block that the lower end of each vertex' lattice edge is in.
        edge: Number of that edge in there.
        vertices_mm: Positions.
        weight: Of the voxel next to each vertex.
        triangles: Numbers of vertices, from 0 in each block.
    """

    keys: Keys
    vertex_count: Keys
    triangle_count: Keys
    home: Int64[np.ndarray, " v"]
    edge: Int64[np.ndarray, " v"]
    vertices_mm: Float32[np.ndarray, "v 3"]
    weight: Float32[np.ndarray, " v"]
    triangles: Int32[np.ndarray, "t 3"]

    @classmethod
    def empty(cls) -> "Pieces":
        """Return the parts of nothing."""
        none, flat = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(
            none, none, none, none, none,
            np.zeros((0, 3), np.float32), flat, np.zeros((0, 3), np.int32),
        )  # fmt: skip

    def joined(self) -> Mesh:
        """Return the surface in one piece; vertices on the same edge of the lattice become one."""
        vertex, first = distinct_pairs(self.home, self.edge)
        start = np.repeat(_starts(self.vertex_count), self.triangle_count)
        weight = self.weight[first]
        return Mesh(
            vertices_mm=self.vertices_mm[first],
            triangles=vertex[self.triangles + start[:, None]].astype(np.int32),
            confidence=weight / (weight + np.float32(_HALF_CERTAIN)),
        )

    def replaced(self, redone: Keys, by: "Pieces") -> "Pieces":
        """Return the parts with those of the blocks `redone` replaced.

        Args:
            redone: Keys of blocks, sorted.
            by: What these blocks give now; those that give nothing are not in there.
        """
        kept = np.flatnonzero(~np.isin(self.keys, redone))
        keys = np.concatenate([self.keys[kept], by.keys])
        of_both = np.concatenate([kept, len(self.keys) + np.arange(len(by.keys))])
        order = of_both[np.argsort(keys, kind="stable")]
        vertex_count = np.concatenate([self.vertex_count, by.vertex_count])
        triangle_count = np.concatenate([self.triangle_count, by.triangle_count])
        v, t = _members(vertex_count, order), _members(triangle_count, order)
        return Pieces(
            keys=np.sort(keys),
            vertex_count=vertex_count[order],
            triangle_count=triangle_count[order],
            home=np.concatenate([self.home, by.home])[v],
            edge=np.concatenate([self.edge, by.edge])[v],
            vertices_mm=np.concatenate([self.vertices_mm, by.vertices_mm])[v],
            weight=np.concatenate([self.weight, by.weight])[v],
            triangles=np.concatenate([self.triangles, by.triangles])[t],
        )


def _starts(count: Keys) -> Keys:
    """Return where each part begins in an array of all members."""
    return np.cumsum(count) - count


def _members(count: Keys, order: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " members"]:
    """Return where the members of some parts are, the parts in this order."""
    chosen = count[order]
    return np.repeat(_starts(count)[order] - _starts(chosen), chosen) + np.arange(chosen.sum())
