"""Mesh scores on spheres, whose distances are known."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.evaluation.mesh_metrics import DistanceStatistics, score_mesh
from us_recon.evaluation.visibility import View
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mesh import Mesh

Maker = Callable[..., Mesh]


def test_statistics_by_hand() -> None:
    # 0.0, 0.1, ... 2.0: 21 values, of which 10 are below 1 and 20 below 2.
    statistics = DistanceStatistics.of(np.linspace(0, 2, 21, dtype=np.float32))
    assert statistics.points == 21
    assert statistics.mean_mm == pytest.approx(1.0)
    assert statistics.median_mm == pytest.approx(1.0)
    assert statistics.p95_mm == pytest.approx(1.9)
    assert statistics.within_1mm == pytest.approx(10 / 21)
    assert statistics.within_2mm == pytest.approx(20 / 21)
    with pytest.raises(InputError, match="no distances"):
        DistanceStatistics.of(np.zeros(0, np.float32))


def test_sphere_one_millimetre_larger(ball: Maker) -> None:
    score = score_mesh(ball(21.0), ball(20.0))
    assert score.to_truth is not None
    assert score.to_reconstruction is not None
    for statistics in (score.to_truth, score.to_reconstruction):
        assert statistics.mean_mm == pytest.approx(1.0, abs=0.01)
        assert statistics.median_mm == pytest.approx(1.0, abs=0.01)
        assert statistics.p95_mm == pytest.approx(1.0, abs=0.02)
        assert statistics.within_2mm == 1.0
    assert score.chamfer_mm == pytest.approx(1.0, abs=0.01)
    assert score.hd95_mm == pytest.approx(1.0, abs=0.02)
    assert score.completeness(2) == 1.0
    assert score.in_region == 1.0
    assert score.visible is None


def test_shifted_sphere(ball: Maker) -> None:
    # Shifted by 2 mm, a point at angle t from the shift is about 2 |cos t| away; cos t is uniform
    # on a sphere, so the mean is 1 mm, and a share of 1/2 is within 1 mm.
    score = score_mesh(ball(20.0, (2.0, 0.0, 0.0)), ball(20.0))
    assert score.to_truth is not None
    assert score.to_truth.mean_mm == pytest.approx(1.0, abs=0.03)
    assert score.to_truth.within_1mm == pytest.approx(0.5, abs=0.03)


def test_perfect(ball: Maker) -> None:
    score = score_mesh(ball(20.0), ball(20.0))
    assert score.to_truth is not None
    assert score.to_truth.p95_mm < 1e-3


def test_half_a_reconstruction(ball: Maker) -> None:
    whole = ball(20.0)
    upper = whole.corners_mm()[:, :, 2].min(axis=1) >= 0
    half = Mesh(whole.vertices_mm, whole.triangles[upper])
    score = score_mesh(half, whole)
    assert score.to_truth is not None
    assert score.to_truth.p95_mm < 1e-3  # what there is, is right
    # A point t below the equator's plane is about t away from it along the sphere; area is uniform
    # in height: (20 + 2) / 40 is within 2 mm, but for the curvature.
    assert score.completeness(2) == pytest.approx(0.55, abs=0.005)


def test_other_objects_are_left_out(ball: Maker) -> None:
    # A second sphere of the same size, 60 mm away, takes half of the reconstruction's area.
    near, far = ball(20.5), ball(20.5, (60.0, 0.0, 0.0))
    both = Mesh(
        np.concatenate([near.vertices_mm, far.vertices_mm]),
        np.concatenate([near.triangles, far.triangles + len(near.vertices_mm)]).astype(np.int32),
    )
    everything = score_mesh(both, ball(20.0))
    near_only = score_mesh(both, ball(20.0), region_mm=15.0)
    assert everything.to_truth is not None
    assert near_only.to_truth is not None
    assert everything.to_truth.p95_mm > 20
    assert near_only.to_truth.p95_mm < 15
    assert near_only.to_truth.median_mm == pytest.approx(0.5, abs=0.01)
    assert near_only.in_region == pytest.approx(0.5, abs=0.001)


def test_completeness_counts_the_visible_side(ball: Maker) -> None:
    # Seen from above, only the upper half is asked for, and the upper half is there.
    truth = ball(20.0)
    upper = truth.corners_mm()[:, :, 2].min(axis=1) >= 0
    half = Mesh(truth.vertices_mm, truth.triangles[upper])
    geometry = ProbeGeometry.linear(50.0, 60.0, 100, 120)
    views = [
        View(from_euler_xyz_deg(np.array([0.0, y, 40.0]), np.array([-90.0, 0.0, 0.0])), geometry)
        for y in np.arange(-22.0, 23.0, 2.0)
    ]
    score = score_mesh(half, truth, views)
    assert score.completeness(1) == 1.0
    # Up to 80 degrees of incidence: z > 20 cos 80, a share of (1 - cos 80) / 2 of the area.
    assert score.visible == pytest.approx(0.5 * (1 - np.cos(np.radians(80))), abs=0.01)


def test_empty_reconstruction_scores_nothing(ball: Maker) -> None:
    score = score_mesh(Mesh.empty(), ball(20.0))
    assert score.to_truth is None
    assert score.to_reconstruction is None
    assert score.completeness(2) == 0.0
    assert score.chamfer_mm is None
    assert score.hd95_mm is None


def test_reconstruction_elsewhere(ball: Maker) -> None:
    score = score_mesh(ball(5.0, (200.0, 0.0, 0.0)), ball(20.0), region_mm=15.0)
    assert score.to_truth is None
    assert score.in_region == 0.0
    assert score.completeness(2) == 0.0


def test_views_that_see_nothing_are_an_error(ball: Maker) -> None:
    away = View(
        from_euler_xyz_deg(np.array([500.0, 0, 0]), np.zeros(3)),
        ProbeGeometry.linear(40.0, 40.0, 40, 40),
    )
    with pytest.raises(InputError, match="same frame"):
        score_mesh(ball(20.0), ball(20.0), [away])
