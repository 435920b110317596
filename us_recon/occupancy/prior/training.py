"""Make a prior from the surfaces of earlier subjects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import distance_transform_edt

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.geometry.rigid import Matrix4, make_rigid, transform_points
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import sample_surface
from us_recon.occupancy.prior.components import principal_components
from us_recon.occupancy.prior.distance import SignedSurface
from us_recon.occupancy.prior.fit import fitted
from us_recon.occupancy.prior.observation import Observation, observation
from us_recon.occupancy.prior.search import search
from us_recon.occupancy.prior.settings import FitSettings, TrainingSettings
from us_recon.occupancy.prior.shape import ShapePrior, Training

_LEAST_SUBJECTS = 2
_ROUNDS = 2  # of aligning all to their mean
_COARSER = 2.0  # the grid that they are aligned on
_PATCHES = 1000  # of a subject's surface, to align it by
_WALL_MM = 3.0  # how far behind an open surface it is known what lies there
_CARE_MM = 6.0  # distances count in the modes as far from the surface as this
_CARE_FAR = 0.02
_MARGIN = 0.1  # of the largest subject's size
_SAMPLES = 5000


@dataclass(frozen=True, eq=False)
class Subject:
    """One earlier subject.

    Attributes:
        name: What to call it in messages and in the file.
        mesh: Its surface, closed or, from a map, the part that was seen; normals outwards.
    """

    name: str
    mesh: Mesh


@dataclass(frozen=True, eq=False)
class _Aligned:
    subject: Subject
    surface: SignedSurface
    seen: Observation
    T_prior_subject: Matrix4


def train_prior(subjects: Sequence[Subject], settings: TrainingSettings) -> ShapePrior:
    """Align all subjects to their mean and find how they differ (generalised Procrustes analysis).

    Of a closed surface the distances are known everywhere; of an open one in front of it and 3 mm
    behind it, except where its edge is nearest. The prior knows no surface where no subject does.

    Args:
        subjects: At least two, of one anatomy, each in any pose.
        settings: Grid and modes.

    Raises:
        InputError: Too few subjects, one without surface, or one that fits none of the others.
    """
    if len(subjects) < _LEAST_SUBJECTS:
        raise InputError(f"{len(subjects)} subjects given; a prior needs {_LEAST_SUBJECTS} or more")
    for subject in subjects:
        if subject.mesh.is_empty or subject.mesh.area_mm2 <= 0:
            raise InputError(f"{subject.name} holds no surface; leave it out")
    fitting = _fit_settings(subjects)
    coarse = replace(settings, grid_mm=_COARSER * settings.grid_mm, modes=0)
    aligned = _first_poses(subjects, coarse, fitting)
    for _ in range(_ROUNDS):
        mean = _prior(aligned, coarse)
        aligned = [_refined(one, mean, fitting) for one in aligned]
    for one in aligned:
        _check(one, mean, settings)
    return _prior(aligned, settings)


def _fit_settings(subjects: Sequence[Subject]) -> FitSettings:
    """Return settings with patches of which the largest subject has about a thousand."""
    area_mm2 = max(subject.mesh.area_mm2 for subject in subjects)
    patch_mm = float(np.sqrt(area_mm2 / _PATCHES))
    return FitSettings(patch_mm=patch_mm, outlier_mm=2.0 * patch_mm)


def _first_poses(
    subjects: Sequence[Subject], settings: TrainingSettings, fitting: FitSettings
) -> list[_Aligned]:
    """Align all to the one that shows most: a closed surface if there is one."""
    none = np.zeros((0, 3), np.float32)
    ready = [
        (one, SignedSurface(one.mesh), observation(one.mesh, none, fitting)) for one in subjects
    ]
    first = max(ready, key=lambda entry: (entry[1].is_closed, entry[0].mesh.area_mm2))
    centre = first[0].mesh.vertices_mm.mean(axis=0, dtype=np.float64)
    reference = _Aligned(*first, make_rigid(np.eye(3), -centre))
    mean = _prior([reference], settings)
    if mean.mean_mesh.is_empty:
        raise InputError(
            f"{reference.subject.name} shows too little surface for a grid of "
            f"{settings.grid_mm / _COARSER:g} mm; expected subjects of which more was seen, or a "
            f"smaller grid_mm"
        )
    return [
        reference
        if entry[0] is reference.subject
        else _Aligned(*entry, search(mean, entry[2], fitting)[0].T_prior_world)
        for entry in ready
    ]


def _refined(one: _Aligned, mean: ShapePrior, fitting: FitSettings) -> _Aligned:
    outliers_mm = (4.0 * fitting.outlier_mm, fitting.outlier_mm)
    fit = fitted(mean, one.seen, one.T_prior_subject, np.zeros(0), fitting, outliers_mm, steps=25)
    return _Aligned(one.subject, one.surface, one.seen, fit.T_prior_world)


def _check(one: _Aligned, mean: ShapePrior, settings: TrainingSettings) -> None:
    points, _ = sample_surface(one.subject.mesh, _SAMPLES)
    inside = transform_points(one.T_prior_subject, points.astype(np.float64))
    misfit_mm = float(np.abs(mean.distances(inside, np.zeros(0)).value_mm).mean())
    if not misfit_mm <= settings.max_misfit_mm:
        raise InputError(
            f"{one.subject.name} lies {misfit_mm:.1f} mm from the mean of all subjects on average; "
            f"expected at most {settings.max_misfit_mm:g} mm (max_misfit_mm). Is it the same "
            f"anatomy, complete, in millimetres and not mirrored? Leave it out if not"
        )


def _prior(aligned: Sequence[_Aligned], settings: TrainingSettings) -> ShapePrior:
    """Return the prior of subjects at their poses."""
    grid = _grid(aligned, settings)
    rows = [_distances(one, grid, settings.reach_mm) for one in aligned]
    values, known = (np.stack(part) for part in zip(*rows, strict=True))
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    weight = np.maximum(np.exp(-((mean / _CARE_MM) ** 2)), _CARE_FAR).astype(np.float32)
    weight[~known.any(axis=0)] = 0.0
    found = principal_components(values, known, weight, settings.modes)
    fields = np.concatenate([found.mean[None], found.modes]).reshape(-1, *grid.shape)
    anywhere = np.asarray(known.any(axis=0)).reshape(grid.shape)
    prior = ShapePrior(
        grid=grid,
        fields_mm=_filled(fields, anywhere),
        known=anywhere,
        training=Training(
            settings.anatomy, tuple(one.subject.name for one in aligned), found.explained, 0.0
        ),
    )
    off = [_off_mm(one, prior, c) for one, c in zip(aligned, found.scores, strict=True)]
    residual_mm = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
    training = prior.training
    return ShapePrior(
        grid,
        prior.fields_mm,
        anywhere,
        Training(training.anatomy, training.subjects, training.variance_explained, residual_mm),
    )


def _grid(aligned: Sequence[_Aligned], settings: TrainingSettings) -> Grid:
    vertices = [
        transform_points(one.T_prior_subject, one.subject.mesh.vertices_mm.astype(np.float64))
        for one in aligned
    ]
    low = np.min([part.min(axis=0) for part in vertices], axis=0)
    high = np.max([part.max(axis=0) for part in vertices], axis=0)
    margin_mm = max(_MARGIN * float((high - low).max()), 2.0 * settings.grid_mm)
    return Grid.around(low - margin_mm, high + margin_mm, settings.grid_mm)


def _distances(
    one: _Aligned, grid: Grid, reach_mm: float
) -> tuple[Float32[np.ndarray, " voxels"], Bool[np.ndarray, " voxels"]]:
    """Return the distances of one subject at all voxels, cut off, and where they are known."""
    index = np.indices(grid.shape).reshape(3, -1).T
    points = transform_points(np.linalg.inv(one.T_prior_subject), grid.index_to_mm(index))
    nearest = one.surface.nearest(points)
    known = np.ones(len(index), bool)
    if not one.surface.is_closed:
        distance = nearest.distance_mm
        known = nearest.inner & (distance > -_WALL_MM) & (distance < reach_mm)
    return np.clip(nearest.distance_mm, -reach_mm, reach_mm), known


def _filled(
    fields: Float32[np.ndarray, "fields i j k"], known: Bool[np.ndarray, "i j k"]
) -> Float32[np.ndarray, "i j k fields"]:
    """Give voxels that nobody knows the values of the nearest one that somebody does."""
    if not known.all():
        at = distance_transform_edt(~known, return_distances=False, return_indices=True)
        fields = fields[(slice(None), *at)]
    return np.ascontiguousarray(np.moveaxis(fields, 0, -1).astype(np.float32))


def _off_mm(
    one: _Aligned, prior: ShapePrior, scores: np.ndarray
) -> Float32[np.ndarray, " samples"]:
    points, _ = sample_surface(one.subject.mesh, _SAMPLES)
    inside = transform_points(one.T_prior_subject, points.astype(np.float64))
    return prior.distances(inside, scores).value_mm.astype(np.float32)
