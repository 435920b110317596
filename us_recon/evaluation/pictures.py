"""Shaded pictures of meshes, drawn by casting rays: no display and no graphics driver needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import open3d as o3d
from jaxtyping import Float, Float32, Float64, UInt8

from us_recon.errors import InputError
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import ray_scene, vertex_normals

BONE_RGB = (0.93, 0.87, 0.73)
TRUTH_RGB = (0.55, 0.68, 0.80)
_BACKGROUND = np.ones(3, np.float32)
_SAMPLES = 2  # rays per pixel and axis, against jagged edges
Direction = Sequence[float] | Float64[np.ndarray, "3"]

_FILLED = 0.9  # of the picture, by what it shows
_TEXT_RGB = (70, 70, 70)


@dataclass(frozen=True)
class Painted:
    """A mesh and its colour, each channel 0 to 1; one colour per vertex or one for all."""

    mesh: Mesh
    rgb: tuple[float, float, float] | Float32[np.ndarray, "vertices 3"] = BONE_RGB


@dataclass(frozen=True, eq=False)
class Camera:
    """A parallel projection, so that lengths in the picture can be measured.

    Attributes:
        right: Unit vector of the picture's x axis in the world.
        down: Unit vector of its y axis.
        centre_mm: World point in the middle of the picture.
        mm_per_px: Scale.
    """

    right: Float64[np.ndarray, "3"]
    down: Float64[np.ndarray, "3"]
    centre_mm: Float64[np.ndarray, "3"]
    mm_per_px: float

    @property
    def forward(self) -> Float64[np.ndarray, "3"]:
        """Direction of view."""
        return np.cross(self.right, self.down)


def fitted_camera(
    points_mm: Float[np.ndarray, "n 3"],
    towards: Direction,
    up: Direction,
    size_px: tuple[int, int],
) -> Camera:
    """Return the camera that looks along `towards` and just holds all points.

    Args:
        points_mm: Points to be seen; none gives a camera at the origin.
        towards: Direction of view in the world, of any length.
        up: Direction that points upwards in the picture, not along `towards`.
        size_px: Width and height of the picture.

    Raises:
        InputError: `up` and `towards` are parallel.
    """
    forward = np.asarray(towards, np.float64)
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(right) < 1e-9 * float(np.linalg.norm(forward)) + 1e-300:
        raise InputError(f"up {tuple(up)} is parallel to towards {tuple(towards)}")
    right = right / np.linalg.norm(right)
    down = np.cross(forward / np.linalg.norm(forward), right)
    if len(points_mm) == 0:
        return Camera(right, down, np.zeros(3), 1.0)
    axes = np.stack([right, down, np.cross(right, down)])
    along = points_mm.astype(np.float64) @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    span_mm = np.maximum(high - low, 1e-6)
    mm_per_px = float(np.max(span_mm[:2] / np.asarray(size_px))) / _FILLED
    return Camera(right, down, (0.5 * (low + high)) @ axes, mm_per_px)


def lengthwise_up(
    points_mm: Float[np.ndarray, "n 3"], towards: Direction
) -> tuple[float, float, float]:
    """Return the up direction for which the points' longest extent runs across the picture.

    Args:
        points_mm: At least one point.
        towards: Direction of view in the world.
    """
    forward = np.asarray(towards, np.float64) / np.linalg.norm(towards)
    centred = points_mm.astype(np.float64) - points_mm.mean(axis=0, dtype=np.float64)
    flat = centred - (centred @ forward)[:, None] * forward
    _, axes = np.linalg.eigh(flat.T @ flat + np.outer(forward, forward) * -1e-9)
    across = axes[:, -1]
    across = across - (across @ forward) * forward
    up = np.cross(across / np.linalg.norm(across), forward)
    # Of the two ways round, the one whose largest component points up the world's axis.
    up = up * np.sign(up[np.abs(up).argmax()])
    return float(up[0]), float(up[1]), float(up[2])


def render_mesh(
    mesh: Mesh,
    towards: Direction = (0.0, 1.0, 0.0),
    up: Direction = (0.0, 0.0, 1.0),
    size_px: tuple[int, int] = (800, 600),
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a shaded picture (RGB) of one mesh with a scale bar.

    Args:
        mesh: May be empty: the picture then says so.
        towards: Direction of view in the world.
        up: Direction that points upwards in the picture.
        size_px: Width and height.
    """
    return render([Painted(mesh)], fitted_camera(mesh.vertices_mm, towards, up, size_px), size_px)


def render(
    items: Sequence[Painted], camera: Camera, size_px: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a shaded picture (RGB) of several meshes with a scale bar."""
    items = [item for item in items if not item.mesh.is_empty]
    width, height = size_px
    if not items:
        picture = np.full((height, width, 3), 255, np.uint8)
        return _with_text(picture, "no surface", (width // 2 - 45, height // 2))
    fine = _cast(items, camera, width * _SAMPLES, height * _SAMPLES)
    colour = fine.reshape(height, _SAMPLES, width, _SAMPLES, 3).mean(axis=(1, 3))
    return _with_scale_bar((255 * np.clip(colour, 0, 1)).astype(np.uint8), camera.mm_per_px)


def _cast(
    items: Sequence[Painted], camera: Camera, width: int, height: int
) -> Float32[np.ndarray, "height width 3"]:
    scene = ray_scene([item.mesh for item in items])
    step_mm = camera.mm_per_px / _SAMPLES
    x = (np.arange(width) - 0.5 * (width - 1)) * step_mm
    y = (np.arange(height) - 0.5 * (height - 1)) * step_mm
    points = np.concatenate([item.mesh.vertices_mm for item in items])
    back_mm = 1.0 + float(np.abs((points - camera.centre_mm) @ camera.forward).max())
    origins = (
        (camera.centre_mm - back_mm * camera.forward)
        + x[None, :, None] * camera.right
        + y[:, None, None] * camera.down
    )
    rays = np.concatenate([origins, np.broadcast_to(camera.forward, origins.shape)], axis=-1)
    hits = scene.cast_rays(o3d.core.Tensor.from_numpy(np.ascontiguousarray(rays, dtype=np.float32)))
    geometry, triangle = hits["geometry_ids"].numpy(), hits["primitive_ids"].numpy()
    corner_share = hits["primitive_uvs"].numpy()
    picture = np.broadcast_to(_BACKGROUND, (height, width, 3)).copy()
    for number, item in enumerate(items):
        here = geometry == number
        picture[here] = _shaded(item, triangle[here], corner_share[here], camera)
    return picture


def _shaded(
    item: Painted,
    triangle: np.ndarray,
    corner_share: Float32[np.ndarray, "n 2"],
    camera: Camera,
) -> Float32[np.ndarray, "n 3"]:
    """Light from the upper left of the viewer, softly, with normals smooth across triangles."""
    corners = item.mesh.triangles[triangle]
    u, v = corner_share[:, :1], corner_share[:, 1:]
    share = np.stack([1 - u - v, u, v], axis=1)
    normal = (vertex_normals(item.mesh)[corners] * share).sum(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    forward, right, down = (
        axis.astype(np.float32) for axis in (camera.forward, camera.right, camera.down)
    )
    # An open surface is seen from both sides.
    normal = np.where((normal @ forward)[:, None] > 0, -normal, normal)
    light = -(forward + 0.5 * right + 0.8 * down)
    light /= np.linalg.norm(light)
    diffuse = np.clip(normal @ light, 0, 1)[:, None]
    facing = np.clip(-(normal @ forward), 0, 1)[:, None]
    colour = np.asarray(item.rgb, np.float32)
    if colour.ndim == 2:
        colour = (colour[corners] * share).sum(axis=1)
    return np.asarray(colour * (0.25 + 0.6 * diffuse + 0.2 * facing), np.float32)


def _with_scale_bar(
    picture: UInt8[np.ndarray, "height width 3"], mm_per_px: float
) -> UInt8[np.ndarray, "height width 3"]:
    height, width = picture.shape[:2]
    quarter_mm = 0.25 * width * mm_per_px
    power = 10.0 ** math.floor(math.log10(quarter_mm))
    length_mm = max(step * power for step in (1, 2, 5) if step * power <= quarter_mm)
    end = (20 + round(length_mm / mm_per_px), height - 20)
    cv2.line(picture, (20, height - 20), end, _TEXT_RGB, 2, cv2.LINE_AA)
    return _with_text(picture, f"{length_mm:g} mm", (20, height - 28))


def _with_text(
    picture: UInt8[np.ndarray, "height width 3"], text: str, at_px: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    cv2.putText(picture, text, at_px, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _TEXT_RGB, 1, cv2.LINE_AA)
    return picture
