"""A first guess from a surface mapped by ultrasound and one segmented in the MRI or CT.

Trimmed point-to-plane ICP (Chen and Medioni, "Object modelling by registration of multiple range
images", 1992; Chetverikov et al., "Robust Euclidean alignment of 3D point sets: the trimmed
iterative closest point algorithm", 2005) from many starts around a guess, by Open3D. The mapped
surface is partial and has outliers: its points look for partners on the model, never the reverse,
and the farthest of them do not count.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Float, Float64, Int
from scipy.spatial import cKDTree

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, invert_rigid, nearest_rigid, transform_points
from us_recon.registration.search import moved_about, start_twists
from us_recon.settings import setting

REACHES_MM = (12.0, 5.0, 2.5)
"""Farthest partner of a point, stage by stage."""
STEPS = 20
COARSE_POINTS, MEASURED_POINTS, MODEL_POINTS = 250, 1000, 20_000
SPACING_MM = 2.0
"""Farther from a sample of the model than this, along its plane, a point lies beyond its edge."""
KEPT = 6
"""Different answers of the first stage that are refined."""
SEED = 7


@dataclass(frozen=True)
class SurfaceSettings:
    """How the surfaces are aligned and when the result is believed."""

    surface_reach_mm: float = setting(
        20.0, "Starts are drawn within this of the guess.", unit="mm", minimum=0.0, maximum=100.0
    )
    surface_reach_deg: float = setting(
        15.0, "Starts are turned by up to this.", unit="deg", minimum=0.0, maximum=180.0
    )
    surface_starts: int = setting(48, "Number of starts.", minimum=1, maximum=2000)
    surface_overlap: float = setting(
        0.8, "Share of the mapped points that must fit.", minimum=0.3, maximum=1.0
    )
    surface_max_residual_mm: float = setting(
        1.5, "Largest residual of that share (RMS).", unit="mm", minimum=0.1, maximum=20.0
    )
    surface_min_lead: float = setting(
        0.15,
        "By how much less the residual must be than that of any different answer, relative.",
        minimum=0.0,
        maximum=1.0,
    )
    surface_apart_mm: float = setting(
        4.0, "Answers that move the mapped surface by more are different.", unit="mm", minimum=0.1
    )


@dataclass(frozen=True, eq=False)
class SurfaceStart:
    """An alignment of the mapped surface.

    Attributes:
        T_world_mri: Pose of the model.
        residual_mm: Root mean square distance of the share of points that must fit.
        rival_mm: The least residual of a different answer; infinite where there is none.
    """

    T_world_mri: Matrix4
    residual_mm: float
    rival_mm: float


def align_surfaces(
    mapped_mm: Float[np.ndarray, "vertices 3"],
    model_mm: Float[np.ndarray, "model_vertices 3"],
    model_triangles: Int[np.ndarray, "triangles 3"],
    T_world_mri: Float64[np.ndarray, "4 4"],
    settings: SurfaceSettings | None = None,
) -> SurfaceStart:
    """Align a mapped surface with a segmented one.

    Args:
        mapped_mm: Vertices of the mapped surface, in the world.
        model_mm: Vertices of the segmented surface, in the MRI's or CT's space.
        model_triangles: Its triangles.
        T_world_mri: First guess.
        settings: Starts, and when the result is believed.

    Raises:
        InputError: Too few points, no start fits, or two different poses fit about as well.
    """
    settings = settings or SurfaceSettings()
    if len(mapped_mm) < 100:
        raise InputError(
            f"the mapped surface has {len(mapped_mm)} vertices; expected 100 or more: map more of "
            "the bone first"
        )
    measured = _thinned(mapped_mm.astype(np.float64))
    model = _sampled(model_mm, model_triangles)
    samples = cKDTree(np.asarray(model.points)), np.asarray(model.normals)
    overlap = settings.surface_overlap
    few = measured[:: max(1, len(measured) // COARSE_POINTS)]
    coarse = []
    for T_move in _starts(measured.mean(axis=0), settings):
        T = _refined(few, model, invert_rigid(T_move @ T_world_mri), REACHES_MM[:1])
        coarse.append((_residual_mm(few, samples, T, overlap), T))
    found = []
    for T_coarse in _different(coarse, measured, settings.surface_apart_mm / 2.0):
        T = _refined(measured, model, T_coarse, REACHES_MM[1:])
        found.append((_residual_mm(measured, samples, T, overlap), T))
    found.sort(key=lambda each: each[0])
    residual_mm, T_best = found[0]
    if residual_mm > settings.surface_max_residual_mm:
        raise InputError(
            f"the surfaces do not fit: {settings.surface_overlap:.0%} of the mapped points lie "
            f"{residual_mm:.1f} mm from the model, {settings.surface_max_residual_mm:g} allowed; "
            "is it the same bone, and is the guess near? Give landmarks, or map more of it"
        )
    placed = transform_points(T_best, measured)
    rivals = [
        residual
        for residual, T in found
        if _rms(transform_points(T, measured) - placed) > settings.surface_apart_mm
    ]
    rival_mm = min(rivals, default=float("inf"))
    if residual_mm > (1.0 - settings.surface_min_lead) * rival_mm:
        raise InputError(
            f"two poses fit about as well ({residual_mm:.2f} and {rival_mm:.2f} mm): the mapped "
            "part is too plain; map an end or another side of the bone, or give landmarks"
        )
    return SurfaceStart(invert_rigid(nearest_rigid(T_best)), residual_mm, rival_mm)


def _starts(
    centre_mm: Float64[np.ndarray, "3"], settings: SurfaceSettings
) -> Float64[np.ndarray, "n 4 4"]:
    """Return motions of the world about the mapped surface: none, then quasi-random ones."""
    reach_rad = np.radians(settings.surface_reach_deg)
    twists = start_twists(settings.surface_starts - 1, settings.surface_reach_mm, reach_rad)
    return moved_about(centre_mm, np.eye(4), np.vstack([np.zeros(6), twists]))


def _different(
    found: list[tuple[float, Matrix4]], measured: Float64[np.ndarray, "n 3"], apart_mm: float
) -> list[Matrix4]:
    """Return the best poses that differ from each other, at most `KEPT`."""
    kept: list[Matrix4] = []
    for _, T in sorted(found, key=lambda each: each[0]):
        placed = transform_points(T, measured)
        if all(_rms(transform_points(other, measured) - placed) > apart_mm for other in kept):
            kept.append(T)
    return kept[:KEPT]


def _refined(
    measured: Float64[np.ndarray, "n 3"],
    model: o3d.geometry.PointCloud,
    T_start: Matrix4,
    reaches_mm: tuple[float, ...],
) -> Matrix4:
    source = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(measured))
    icp = o3d.pipelines.registration
    T = T_start
    for reach_mm in reaches_mm:
        estimation = icp.TransformationEstimationPointToPlane(icp.TukeyLoss(k=reach_mm))
        stop = icp.ICPConvergenceCriteria(max_iteration=STEPS)
        result = icp.registration_icp(source, model, 2.0 * reach_mm, T, estimation, stop)
        T = np.array(result.transformation)
    return T


def _residual_mm(
    measured: Float64[np.ndarray, "n 3"],
    samples: tuple[cKDTree, Float64[np.ndarray, "m 3"]],
    T_mri_world: Matrix4,
    overlap: float,
) -> float:
    """Return the residual to the planes of the nearest samples, as far as these reach."""
    tree, normals = samples
    placed = transform_points(T_mri_world, measured)
    distance_mm, nearest = tree.query(placed)
    across_mm = np.einsum("ij,ij->i", placed - tree.data[nearest], normals[nearest])
    along_mm = np.sqrt(np.maximum(distance_mm**2 - across_mm**2, 0.0))
    residual_mm = np.sort(np.hypot(across_mm, np.maximum(along_mm - SPACING_MM, 0.0)))
    return float(np.sqrt(np.mean(residual_mm[: max(1, round(overlap * len(placed)))] ** 2)))


def _rms(offsets_mm: Float64[np.ndarray, "n 3"]) -> float:
    return float(np.sqrt((offsets_mm**2).sum(axis=1).mean()))


def _thinned(points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "m 3"]:
    """Return points that are spread evenly, at most `MEASURED_POINTS`."""
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points_mm))
    even = np.asarray(cloud.voxel_down_sample(1.0).points)
    chosen = np.random.default_rng(SEED).permutation(len(even))[:MEASURED_POINTS]
    return even[chosen]


def _sampled(
    vertices_mm: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"]
) -> o3d.geometry.PointCloud:
    """Return points on the model with its normals."""
    if len(triangles) == 0:
        raise InputError("the segmented surface has no triangle")
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices_mm.astype(np.float64)),
        o3d.utility.Vector3iVector(triangles.astype(np.int32)),
    )
    mesh.compute_triangle_normals()
    o3d.utility.random.seed(SEED)
    return mesh.sample_points_uniformly(MODEL_POINTS, use_triangle_normal=True)
