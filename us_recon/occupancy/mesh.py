"""A triangle mesh as plain arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in millimetres; a mesh without any is a value like every other.

    Attributes:
        vertices_mm: Vertex positions.
        triangles: Vertex indices, counter-clockwise seen from outside.
        confidence: How well each vertex was observed, 0 to 1; None where that is unknown.
        observed: Whether each vertex was seen, or filled in by a prior; None where all were seen.
    """

    vertices_mm: Float32[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]
    confidence: Float32[np.ndarray, " vertices"] | None = None
    observed: Bool[np.ndarray, " vertices"] | None = None

    @classmethod
    def empty(cls) -> "Mesh":
        """Return the mesh of nothing."""
        return cls(
            np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.float32)
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no triangle."""
        return len(self.triangles) == 0

    def corners_mm(self) -> Float32[np.ndarray, "triangles 3 3"]:
        """Return the three corners of each triangle."""
        return self.vertices_mm[self.triangles]

    def areas_mm2(self) -> Float32[np.ndarray, " triangles"]:
        """Return the area of each triangle."""
        a, b, c = np.moveaxis(self.corners_mm(), 1, 0)
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1), np.float32)

    @property
    def area_mm2(self) -> float:
        """Area of the whole surface."""
        return float(self.areas_mm2().sum(dtype=np.float64))
