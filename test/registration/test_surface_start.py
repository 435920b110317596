"""Alignment of a partial surface with a whole one, on a body whose shape is known."""

import numpy as np
import pytest
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, invert_rigid, make_rigid, transform_points
from us_recon.registration.surface_start import SurfaceSettings, align_surfaces

RINGS, SPOKES = 60, 60
SETTINGS = SurfaceSettings(surface_starts=16)
T_WORLD_MRI = make_rigid(
    Rotation.from_euler("xyz", [20.0, -30.0, 60.0], degrees=True).as_matrix(),
    np.array([100.0, -40.0, 250.0]),
)


def body(bumps: float) -> tuple[Float64[np.ndarray, "n 3"], np.ndarray]:
    """Return a closed tube, 80 mm long and some 20 mm wide, with bumps that no turn repeats."""
    along, around = np.meshgrid(
        np.linspace(0.0, 80.0, RINGS), np.arange(SPOKES) * 2.0 * np.pi / SPOKES, indexing="ij"
    )
    radius = 10.0 + bumps * (
        2.0 * np.sin(along / 9.0 + 1.0) * np.cos(around) + 1.5 * np.cos(along / 14.0 + 2.0 * around)
    )
    points = np.stack([radius * np.cos(around), radius * np.sin(around), along], axis=-1)
    first = np.arange(RINGS - 1)[:, None] * SPOKES + np.arange(SPOKES)
    right = np.arange(RINGS - 1)[:, None] * SPOKES + (np.arange(SPOKES) + 1) % SPOKES
    triangles = np.concatenate(
        [
            np.stack([first, right, first + SPOKES], axis=-1).reshape(-1, 3),
            np.stack([right, right + SPOKES, first + SPOKES], axis=-1).reshape(-1, 3),
        ]
    )
    return points.reshape(-1, 3), triangles


def mapped(vertices: Float64[np.ndarray, "n 3"], outliers: int = 0) -> Float64[np.ndarray, "m 3"]:
    """Return the half that faces a probe, in the world, with noise of 0.3 mm."""
    rng = np.random.default_rng(4)
    seen = vertices[vertices[:, 0] > 0.0]
    seen = seen + 0.3 * rng.standard_normal(seen.shape)
    stray = rng.uniform([10.0, -15.0, 0.0], [25.0, 15.0, 80.0], (outliers, 3))
    return transform_points(T_WORLD_MRI, np.concatenate([seen, stray]))


def moved(size_mm: float, size_deg: float, about_mm: Float64[np.ndarray, "3"]) -> Matrix4:
    axis = np.array([1.0, 2.0, -2.0]) / 3.0
    about = make_rigid(np.eye(3), about_mm)
    turn = Rotation.from_rotvec(np.radians(size_deg) * axis[::-1]).as_matrix()
    return about @ make_rigid(turn, size_mm * axis) @ invert_rigid(about)


def test_a_partial_surface_with_outliers_finds_its_place_from_far_away() -> None:
    vertices, triangles = body(bumps=1.0)
    surface = mapped(vertices, outliers=200)
    guess = moved(15.0, 12.0, surface.mean(axis=0)) @ T_WORLD_MRI
    found = align_surfaces(surface, vertices, triangles, guess, SETTINGS)
    off = transform_points(found.T_world_mri, vertices) - transform_points(T_WORLD_MRI, vertices)
    assert np.linalg.norm(off, axis=1).max() < 1.0
    # Noise of 0.3 mm, of which the farthest fifth does not count.
    assert 0.1 < found.residual_mm < 0.4 < found.rival_mm


def test_a_plain_tube_is_refused_because_it_may_turn() -> None:
    vertices, triangles = body(bumps=0.0)
    with pytest.raises(InputError, match="two poses fit about as well"):
        align_surfaces(mapped(vertices), vertices, triangles, T_WORLD_MRI, SETTINGS)


def test_another_bone_is_refused() -> None:
    vertices, triangles = body(bumps=1.0)
    surface = mapped(1.6 * vertices)
    with pytest.raises(InputError, match="the surfaces do not fit"):
        align_surfaces(surface, vertices, triangles, T_WORLD_MRI, SETTINGS)


def test_too_small_a_surface_is_refused() -> None:
    vertices, triangles = body(bumps=1.0)
    with pytest.raises(InputError, match="20 vertices; expected 100"):
        align_surfaces(vertices[:20], vertices, triangles, T_WORLD_MRI, SETTINGS)
