"""Training, fitting and judging on brackets, whose shape and pose are known."""

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from time import sleep

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.rigid import transform_points
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface, triangle_normals
from us_recon.occupancy.prior.completion import Completed, ShapeCompletion
from us_recon.occupancy.prior.fit import Fit
from us_recon.occupancy.prior.search import search
from us_recon.occupancy.prior.settings import FitSettings, TrainingSettings
from us_recon.occupancy.prior.shape import ShapePrior
from us_recon.occupancy.prior.training import Subject, train_prior

Bracket = Callable[..., Mesh]
NOTHING = np.zeros((0, 3), np.int64)
SETTINGS = FitSettings(min_patches=20.0)


def seen_from(mesh: Mesh, direction: np.ndarray) -> Mesh:
    """Return the part of a mesh that faces a viewer who looks along `direction`."""
    facing = triangle_normals(mesh) @ direction < -0.3
    return Mesh(mesh.vertices_mm, mesh.triangles[facing])


def half_of(mesh: Mesh, T: np.ndarray) -> Mesh:
    """Return what of a bracket at T is seen from above and from its side: under half of it."""
    return seen_from(mesh, T[:3, :3] @ np.array([0.3, -0.65, -0.7]))


def completed(prior: ShapePrior, mesh: Mesh, empty: np.ndarray = NOTHING) -> Completed:
    return ShapeCompletion(prior, SETTINGS).complete(mesh, empty, 1.0)


def mean_distance_mm(a: Mesh, b: Mesh) -> float:
    return float(SurfaceQuery(b).distances_mm(sample_surface(a, 4000)[0]).mean())


def test_training_finds_the_one_thing_that_differs(prior: ShapePrior, bracket: Bracket) -> None:
    assert prior.training.subjects == tuple(f"{k}.ply" for k in range(5))
    assert prior.training.variance_explained > 0.98
    assert prior.training.residual_mm < 0.4
    # The first mode is the length: five lengths 3 mm apart have a standard deviation of 4.7 mm,
    # and the area grows with the length.
    ends = [prior.mesh(np.array([c, 0.0, 0.0])).area_mm2 for c in (-1.0, 1.0)]
    per_mm = (bracket(56.0).area_mm2 - bracket(44.0).area_mm2) / 12.0
    assert abs(ends[1] - ends[0]) == pytest.approx(2 * 4.7 * per_mm, rel=0.25)


@pytest.mark.parametrize("length_mm", [46.0, 53.0])
def test_pose_and_shape_are_found_from_half_of_the_surface(
    prior: ShapePrior, bracket: Bracket, place: Callable[[int], np.ndarray], length_mm: float
) -> None:
    T = place(100)
    whole = bracket(length_mm, T)
    half = half_of(whole, T)
    assert half.area_mm2 < 0.5 * whole.area_mm2
    result = completed(prior, half)
    assert result.judgement is not None and result.judgement.believed, result.message
    assert result.fit is not None
    # Against a member of the length that was not trained on, everywhere, also where nothing was
    # seen: pose and coefficients are right together.
    shape = prior.mesh(result.fit.coefficients)
    world = transform_points(
        np.linalg.inv(result.fit.T_prior_world), shape.vertices_mm.astype(np.float64)
    )
    found = Mesh(world.astype(np.float32), shape.triangles)
    assert mean_distance_mm(found, whole) < 0.5
    assert mean_distance_mm(whole, found) < 0.5
    wrong = bracket(length_mm + 8.0, T)
    assert mean_distance_mm(wrong, found) > 2 * mean_distance_mm(whole, found)


def test_the_measured_surface_stays_and_the_rest_is_marked(
    prior: ShapePrior, bracket: Bracket, place: Callable[[int], np.ndarray]
) -> None:
    T = place(101)
    whole = bracket(50.0, T)
    half = half_of(whole, T)
    half = replace(half, confidence=np.full(len(half.vertices_mm), 0.7, np.float32))
    mesh = completed(prior, half).mesh
    assert mesh.observed is not None and mesh.confidence is not None
    seen = mesh.observed
    np.testing.assert_array_equal(mesh.vertices_mm[seen], half.vertices_mm)
    np.testing.assert_array_equal(mesh.confidence[seen], np.float32(0.7))
    assert mean_distance_mm(whole, mesh) < 0.5 < mean_distance_mm(whole, half) / 4
    # Nothing lies twice but a row of triangles along the edge of what was measured.
    filled = mesh.areas_mm2()[~seen[mesh.triangles[:, 0]]].sum()
    assert filled == pytest.approx(whole.area_mm2 - half.area_mm2, rel=0.25)
    assert 0.0 < mesh.confidence[~seen].min() <= mesh.confidence[~seen].max() < 1.0


def test_an_alien_shape_is_refused(prior: ShapePrior, ball: Callable[..., Mesh]) -> None:
    alien = seen_from(ball(25.0, (10.0, 20.0, 30.0)), np.array([0.0, 0.0, -1.0]))
    result = completed(prior, alien)
    assert result.message.startswith("prior not used: ")
    assert result.judgement is not None and not result.judgement.believed
    np.testing.assert_array_equal(result.mesh.vertices_mm, alien.vertices_mm)
    assert result.mesh.observed is not None and result.mesh.observed.all()


def test_a_surface_that_fits_in_many_places_is_refused(prior: ShapePrior) -> None:
    plate = np.array([(0, 0, 0), (24, 0, 0), (24, 10, 0), (0, 10, 0)], np.float32)
    flat = Mesh(plate, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    result = ShapeCompletion(prior, FitSettings(min_patches=5.0)).complete(flat, NOTHING, 1.0)
    assert "another pose" in result.message


def test_space_seen_empty_forbids_the_shape(
    prior: ShapePrior, bracket: Bracket, place: Callable[[int], np.ndarray]
) -> None:
    T = place(102)
    whole = bracket(50.0, T)
    half = half_of(whole, T)
    # The foot, which the view from above does not reach, is said to be empty.
    foot = np.stack(np.meshgrid(*map(np.arange, (1, 14, -5), (11, 31, 5))), axis=-1).reshape(-1, 3)
    empty = np.rint(transform_points(T, foot.astype(np.float64))).astype(np.int64)
    result = completed(prior, half, empty)
    assert result.judgement is not None
    assert not result.judgement.believed
    assert result.mesh.observed is not None and result.mesh.observed.all()


def test_too_little_and_nothing(prior: ShapePrior, bracket: Bracket) -> None:
    assert "nothing seen" in completed(prior, Mesh.empty()).message
    few = ShapeCompletion(prior, FitSettings(min_patches=1e4)).complete(bracket(50), NOTHING, 1.0)
    assert "too little surface" in few.message
    assert few.fit is None
    assert few.mesh.observed is not None and few.mesh.observed.all()


def test_watching_ends_where_a_thorough_look_does(
    prior: ShapePrior, bracket: Bracket, place: Callable[[int], np.ndarray]
) -> None:
    T = place(103)
    half = half_of(bracket(48.0, T), T)
    watching = ShapeCompletion(prior, SETTINGS)
    part = Mesh(half.vertices_mm, half.triangles[: int(0.7 * len(half.triangles))])
    for mesh in (part, half):
        watching.complete(mesh, NOTHING, 1.0, thorough=False)
    last = watching.complete(half, NOTHING, 1.0)
    only = completed(prior, half)
    assert last.fit is not None and only.fit is not None
    np.testing.assert_array_equal(last.fit.coefficients, only.fit.coefficients)
    np.testing.assert_array_equal(last.mesh.vertices_mm, only.mesh.vertices_mm)


def test_watching_does_not_wait_for_a_search(
    prior: ShapePrior,
    bracket: Bracket,
    place: Callable[[int], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    T = place(104)
    half = half_of(bracket(52.0, T), T)
    may_end, begun = Event(), []

    def held_up(*given: object) -> list[Fit]:
        begun.append(given)
        assert may_end.wait(60.0)
        return search(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("us_recon.occupancy.prior.completion.search", held_up)
    watching = ShapeCompletion(prior, SETTINGS)
    for _ in range(3):
        waiting = watching.complete(half, NOTHING, 1.0, thorough=False)
        assert "is being searched" in waiting.message and waiting.fit is None
        assert waiting.mesh.observed is not None and waiting.mesh.observed.all()
    assert len(begun) == 1
    may_end.set()
    for _ in range(600):
        found = watching.complete(half, NOTHING, 1.0, thorough=False)
        if found.fit is not None:
            break
        sleep(0.1)
    assert found.judgement is not None and found.judgement.believed
    assert found.mesh.observed is not None and not found.mesh.observed.all()
    again = watching.complete(half, NOTHING, 1.0, thorough=False)  # nothing new: as it was
    assert again.fit is found.fit and len(begun) == 1


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s, _: s[:1], "a prior needs 2 or more"),
        (lambda s, _: [*s[:2], Subject("none.ply", Mesh.empty())], "none.ply holds no surface"),
        (lambda s, ball: [*s[:3], Subject("ball.ply", ball(60.0))], "from the mean of all"),
    ],
)
def test_bad_subjects(
    subjects: list[Subject],
    ball: Callable[..., Mesh],
    spoil: Callable[[list[Subject], Callable[..., Mesh]], list[Subject]],
    complaint: str,
) -> None:
    with pytest.raises(InputError, match=complaint):
        train_prior(spoil(subjects, ball), TrainingSettings(modes=2, grid_mm=3.0))


def test_open_surfaces_teach_what_they_show(
    subjects: list[Subject], place: Callable[[int], np.ndarray], bracket: Bracket
) -> None:
    """As maps do: three subjects are whole, of two only the half that a scan saw."""
    halves = [
        Subject(one.name, half_of(one.mesh, place(k)))
        for k, one in enumerate(subjects)
        if k in (1, 3)
    ]
    mixed = [subjects[0], halves[0], subjects[2], halves[1], subjects[4]]
    prior = train_prior(mixed, TrainingSettings(modes=1, grid_mm=2.5))
    assert prior.known.all()  # by those that are whole
    ends = [prior.mesh(np.array([c])).area_mm2 for c in (-1.0, 1.0)]
    per_mm = (bracket(56.0).area_mm2 - bracket(44.0).area_mm2) / 12.0
    assert abs(ends[1] - ends[0]) == pytest.approx(2 * 4.7 * per_mm, rel=0.3)
    # Of halves alone nothing is known of the far side, and no surface is made there.
    known = train_prior(halves, TrainingSettings(modes=1, grid_mm=2.5))
    assert not known.known.all()
    assert known.mean_mesh.area_mm2 < 0.7 * subjects[1].mesh.area_mm2
