"""Peaks that the images cannot tell apart, and their mean."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.geometry.rigid import Matrix4, from_euler_xyz_deg, invert_rigid, transform_points
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels
from us_recon.registration.confidence import MODEL
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import observe
from us_recon.registration.peaks import mean_pose, near_peaks
from us_recon.registration.registrar import MriRegistration
from us_recon.registration.search import GlobalSearch
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.settling import Settling
from us_recon.registration.solver import Refinement, refine, turn_about_centre, twist_between

CENTRE = np.array([10.0, -20.0, 30.0])
T_BEST = from_euler_xyz_deg(np.array([5.0, 6.0, -7.0]), np.array([10.0, 20.0, -30.0]))


def peak(twist: list[float], score: float) -> Refinement:
    T = turn_about_centre(CENTRE, T_BEST, np.array(twist, np.float64))
    return Refinement(T, score, 3, True, np.eye(6))


def test_the_twist_between_two_poses_takes_one_to_the_other() -> None:
    twist = np.array([0.4, -0.8, 0.3, 0.02, -0.01, 0.03])
    other = turn_about_centre(CENTRE, T_BEST, twist)
    np.testing.assert_allclose(twist_between(T_BEST, other, CENTRE), twist, atol=1e-12)


def test_near_peaks_are_those_within_reach_once_each() -> None:
    best = peak([0, 0, 0, 0, 0, 0], 0.4)
    beside = peak([1.0, 0, 0, 0, 0, 0], 0.39)
    same = peak([1.1, 0, 0, 0, 0, 0], 0.38)
    turned = peak([0, 0, 0, 0, 0, 0.1], 0.37)  # moves the images by 2 mm, about
    far = peak([0, 3.5, 0, 0, 0, 0], 0.399)
    found = near_peaks([same, far, turned, best, beside], CENTRE, 3.0)
    assert found == [best, beside, turned]
    assert near_peaks([beside, far], CENTRE, 3.0) == [far]  # 3.6 mm apart: two answers


def test_a_lower_peak_weighs_less() -> None:
    step = MODEL.covariance_scale * np.log(3.0)  # weighs a third
    near = [peak([0, 0, 0, 0, 0, 0], 0.4), peak([1.0, 0, 0, 0, 0, 0.04], 0.4 - step)]
    twist = twist_between(T_BEST, mean_pose(near, CENTRE), CENTRE)
    np.testing.assert_allclose(twist, [0.25, 0, 0, 0, 0, 0.01], atol=1e-9)
    np.testing.assert_allclose(mean_pose(near[:1], CENTRE), T_BEST, atol=1e-12)


@pytest.fixture(scope="module")
def objective(
    frames: list[TrackedFrame], channels: MriChannels, settings: RegistrationSettings
) -> Objective:
    return make_objective(observe(frames, settings), channels, settings)


def test_settling_climbs_every_peak_and_ends_in_their_mean(
    objective: Objective,
    frames: list[TrackedFrame],
    settings: RegistrationSettings,
    T_world_mri: Matrix4,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window, T_true = observe(frames, settings), invert_rigid(T_world_mri)
    sideways = np.array([0.8, 0, 0, 0, 0, 0])
    # All peaks that there are lie at the truth: from 0.8 mm to either side it comes home.
    once = Settling(objective, window, T_world_mri)
    twice = Settling(objective, window, T_world_mri, [sideways, -sideways], 3.0)
    while not once.advance():
        pass
    while not twice.advance():
        pass
    centre = objective.centre_world_mm
    for settling in (once, twice):
        settled = settling.belief(0).T_mri_world
        off = transform_points(settled, centre) - transform_points(T_true, centre)
        assert np.linalg.norm(off) < 0.4
    # Where nothing moves the starts, they are the peaks, and the mean lies between them.
    monkeypatch.setattr(
        "us_recon.registration.settling.refine",
        lambda objective, T, *_, **__: replace(refine(objective, T, 0), converged=True),
    )
    fixed = Settling(objective, window, T_world_mri, [sideways, -sideways], 3.0)
    assert not fixed.advance() and fixed.advance()
    assert fixed.moved_mm < 0.75
    near = [
        refine(objective, turn_about_centre(centre, T_true, x), 0) for x in (sideways, -sideways)
    ]
    near.sort(key=lambda one: -one.score)
    np.testing.assert_allclose(fixed.belief(0).T_mri_world, mean_pose(near, centre), atol=1e-9)


def test_the_registration_is_the_mean_of_the_peaks_of_its_search(
    frames: list[TrackedFrame],
    volume: Volume,
    settings: RegistrationSettings,
    T_world_mri: Matrix4,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that ends with a second, equally high peak: the pose half-way is reported."""
    asked = replace(settings, start_count=64, refine_count=10, mirrored_count=16)
    shift = np.array([0.0, 1.2, 0.0, 0.0, 0.0, 0.0])
    climb = GlobalSearch._climb_nearby

    def with_another(self: GlobalSearch, block: int, pool: object) -> object:
        yield from climb(self, block, pool)  # type: ignore[arg-type]
        T = turn_about_centre(self._levels.fine.centre_world_mm, self.best.T_mri_world, shift)
        self.peaks = [self.best, replace(self.best, T_mri_world=T)]

    settled_from: list[list[np.ndarray]] = []

    def settling(*given: object) -> Settling:
        settled_from.append(given[3])  # type: ignore[arg-type]
        return Settling(*given)  # type: ignore[arg-type]

    def registered() -> Matrix4:
        registration = MriRegistration(volume, asked)
        for frame in frames:
            registration.add_frame(frame)
        registration.set_initial(T_world_mri)
        update = registration.step()
        assert update is not None and update.trusted
        registration.finish()
        return invert_rigid(update.T_world_mri)

    monkeypatch.setattr("us_recon.registration.registrar.Settling", settling)

    monkeypatch.setattr(GlobalSearch, "_climb_nearby", lambda *_: iter(()))
    alone = registered()
    monkeypatch.setattr(GlobalSearch, "_climb_nearby", with_another)
    between = registered()
    centre = observe(frames, settings).centre_world_mm
    moved = transform_points(between, centre) - transform_points(alone, centre)
    np.testing.assert_allclose(moved, [0.0, 0.6, 0.0], atol=0.15)
    assert settled_from[0] == []
    below, above = settled_from[1]  # what is seen later climbs both peaks again, from the mean
    np.testing.assert_allclose(below[:3], [0.0, -0.6, 0.0], atol=0.15)
    np.testing.assert_allclose(above[:3], [0.0, 0.6, 0.0], atol=0.15)
