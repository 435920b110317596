"""Meshes whose distances are known in closed form."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.occupancy.mesh import Mesh


@pytest.fixture(scope="session")
def ball() -> Callable[..., Mesh]:
    """Return a fine sphere, facing outwards; its triangles lie within 0.1 % of the radius."""

    def make(radius_mm: float, centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
        polar, round_ = 90, 180
        theta = np.linspace(0, np.pi, polar + 1)[1:-1]
        phi = np.arange(round_) * 2 * np.pi / round_
        rings = np.stack(
            [
                np.outer(np.sin(theta), np.cos(phi)),
                np.outer(np.sin(theta), np.sin(phi)),
                np.outer(np.cos(theta), np.ones(round_)),
            ],
            axis=-1,
        ).reshape(-1, 3)
        vertices = np.concatenate([rings, [[0, 0, 1], [0, 0, -1]]]) * radius_mm + centre_mm
        triangles = []
        for ring in range(polar - 2):
            for k in range(round_):
                a, b = ring * round_ + k, ring * round_ + (k + 1) % round_
                triangles += [(a, a + round_, b), (b, a + round_, b + round_)]
        last = (polar - 2) * round_
        for k in range(round_):
            after = (k + 1) % round_
            triangles += [(len(rings), k, after), (len(rings) + 1, last + after, last + k)]
        return Mesh(vertices.astype(np.float32), np.array(triangles, np.int32))

    return make


@pytest.fixture(scope="session")
def square() -> Callable[..., Mesh]:
    """Return a square in the x-y plane about (0, 0, height), facing up."""

    def make(size_mm: float, height_mm: float = 0.0) -> Mesh:
        half = size_mm / 2
        corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
        vertices = np.array([(x, y, height_mm) for x, y in corners], np.float32)
        return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32))

    return make
