"""Fixtures that every test shares, and the run-time check of array shapes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook names its checker by module; this one accepts int where float is asked (PEP 484).
checker = ModuleType("us_recon_type_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker
# Before any module of the package is imported: annotations are then checked at every call.
install_import_hook("us_recon", f"{checker.__name__}.check")

from us_recon.occupancy.mesh import Mesh  # noqa: E402, after the hook

# As the nodes and commands do it, see `us_recon.pipeline.threads`.
torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings; the test is skipped where they are absent."""
    folder = Path(os.environ.get("US_RECON_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the recordings are not at {folder}; set US_RECON_DATA to their folder")
    return folder


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
