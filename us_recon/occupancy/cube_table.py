"""Which triangles part the corners of a cube: the table of marching cubes (Lorensen, Cline 1987).

The table is derived here rather than listed. On each face of a cube, every run of corners inside
is cut off by one segment; where two corners opposite each other are inside, they are cut off one by
one. That follows from the face alone, so that cubes on both sides of it agree and no hole is left.
"""

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
from jaxtyping import Int8

Edge = int
Loop = list[Edge]
Triangle = tuple[Edge, Edge, Edge]

CORNERS = list(product((0, 1), repeat=3))
"""Corner ``4 x + 2 y + z``; its bit in the number of a case is set where it is inside."""
EDGES = [(low, axis) for axis in range(3) for low in range(8) if not CORNERS[low][axis]]
"""Each edge by its lower corner and its axis."""
MOST_TRIANGLES = 5


def cube_table() -> Int8[np.ndarray, "256 triangles 3"]:
    """Return the edges that the triangles of each case join, -1 where there is none.

    Triangles are counter-clockwise seen from outside.
    """
    table = np.full((256, MOST_TRIANGLES, 3), -1, np.int8)
    for case in range(256):
        triangles = [t for loop in _loops(case) for t in _triangulated(loop)]
        table[case, : len(triangles)] = np.array(triangles, np.int8).reshape(-1, 3)
    return table


def _loops(case: int) -> Iterator[Loop]:
    """Yield the closed lines in which the surface meets the faces of the cube."""
    following = dict(segment for face in FACES for segment in _segments(face, case))
    while following:
        first, edge = following.popitem()
        loop = [first]
        while edge != first:
            loop.append(edge)
            edge = following.pop(edge)
        yield loop


def _faces() -> list[list[int]]:
    """Return the corners of each face, counter-clockwise seen from outside the cube."""
    faces = []
    for axis, side in product(range(3), (0, 1)):
        around = [(0, 0), (1, 0), (1, 1), (0, 1)]
        corners = [
            sum(bit << (2 - (axis + shift) % 3) for shift, bit in enumerate((side, *pair)))
            for pair in around
        ]
        faces.append(corners if side else corners[::-1])
    return faces


FACES = _faces()


def _edge(a: int, b: int) -> Edge:
    """Return the edge between two corners."""
    low, high = min(a, b), max(a, b)
    return EDGES.index((low, 3 - (high - low).bit_length()))


def _segments(face: list[int], case: int) -> Iterator[tuple[Edge, Edge]]:
    """Yield from which edge to which one the surface runs on a face."""
    inside = [bool(case >> corner & 1) for corner in face]
    for start in range(4):
        if inside[start] or not inside[(start + 1) % 4]:
            continue
        end = next(k for k in range(start + 1, start + 5) if not inside[(k + 1) % 4])
        enters = _edge(face[start], face[(start + 1) % 4])
        leaves = _edge(face[end % 4], face[(end + 1) % 4])
        yield enters, leaves


def _triangulated(loop: Loop) -> list[Triangle]:
    """Return the triangles of a loop, with as few of their sides as can be lying in a face.

    The cube beyond might choose the same side, and four triangles would meet there.
    """
    return min(_triangulations(loop), key=lambda made: _sides_in_faces(loop, made))


def _triangulations(loop: Loop) -> Iterator[list[Triangle]]:
    """Yield every way to part a loop into triangles."""
    if len(loop) < 3:
        yield []
        return
    for k in range(1, len(loop) - 1):
        for left, right in product(_triangulations(loop[: k + 1]), _triangulations(loop[k:])):
            yield [(loop[0], loop[k], loop[-1]), *left, *right]


def _sides_in_faces(loop: Loop, triangles: list[Triangle]) -> int:
    rim = {frozenset((a, b)) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)}
    inner = {frozenset(side) for t in triangles for side in combinations(t, 2)} - rim
    return sum(any(side <= edges for edges in _FACE_EDGES) for side in inner)


_FACE_EDGES = [frozenset(_edge(face[k], face[(k + 1) % 4]) for k in range(4)) for face in FACES]
