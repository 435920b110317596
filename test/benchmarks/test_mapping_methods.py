"""The mapping methods find a plate of bone where it is, and only there."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.mapping_methods import METHODS as ALL_METHODS
from benchmarks.mapping_methods import MappingMethod
from benchmarks.naive_occupancy import NaiveSettings, naive_occupancy
from benchmarks.sets import SPINE_SETS
from benchmarks.spine_mapping import METHODS_OF, WITH_PRIOR
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface

Scan = Callable[..., list[TrackedFrame]]
# Shorter than in the benchmarks, on a field that is far smaller too.
QUICK = NaiveSettings(min_steps=160, steps_per_frame=1, learning_rate=3e-2, pixels_per_frame=128)
BASELINES = (
    "log-odds voxels, labels only",
    "log-odds voxels + detector",
    "TSDF, labels only",
    "TSDF + detector",
)
METHODS: dict[str, MappingMethod] = {
    **{name: ALL_METHODS[name] for name in BASELINES},
    "naive occupancy": partial(naive_occupancy, settings=QUICK),
}
LABELS_ONLY = [name for name in METHODS if "detector" not in name]
WITH_DETECTOR = [name for name in METHODS if "detector" in name]


def mean_mm(truth: Mesh, mesh: Mesh) -> float:
    """Mean distance from the truth to the mesh."""
    points, _ = sample_surface(truth, 2000)
    return float(SurfaceQuery(mesh).distances_mm(points).mean())


def test_the_table_has_a_row_for_each_class_of_method() -> None:
    assert len(LABELS_ONLY) == 3 and len(WITH_DETECTOR) == 2


def test_each_set_compares_methods_that_there_are() -> None:
    assert set(METHODS_OF) == set(SPINE_SETS)
    assert set().union(*METHODS_OF.values()) == {*ALL_METHODS, WITH_PRIOR}


@pytest.mark.parametrize("name", METHODS)
def test_labels_put_the_surface_where_they_begin(
    name: str, scan: Scan, plate_at: Callable[..., Mesh]
) -> None:
    # Pixels are 0.4 mm and voxels 1 mm: half of each, at most.
    assert mean_mm(plate_at(20.0), METHODS[name](scan())) < 0.5


@pytest.mark.parametrize("name", LABELS_ONLY)
def test_labels_in_the_wrong_place_are_believed(
    name: str, scan: Scan, plate_at: Callable[..., Mesh]
) -> None:
    # At 26 mm instead of 20: the nearest face is 6 mm from the truth.
    assert mean_mm(plate_at(20.0), METHODS[name](scan(label_mm=26.0))) > 5.0


@pytest.mark.parametrize("name", LABELS_ONLY)
def test_without_labels_they_show_nothing(name: str, scan: Scan) -> None:
    assert METHODS[name](scan(every=0)).is_empty


@pytest.mark.parametrize("name", WITH_DETECTOR)
def test_the_detector_stands_in_for_labels(
    name: str, scan: Scan, plate_at: Callable[..., Mesh]
) -> None:
    assert mean_mm(plate_at(20.0), METHODS[name](scan(every=0))) < 0.6


def test_sparse_slices_speak_for_the_gap_between_them(
    scan: Scan, plate_at: Callable[..., Mesh]
) -> None:
    # Labels at z = 0, 6: from there, 5 mm to either side cover the plate from 1 to 10 mm.
    mesh = METHODS["TSDF, labels only"](scan(every=6))
    assert mean_mm(plate_at(20.0), mesh) < 0.5


@pytest.fixture(scope="module")
def naive_mesh(scan: Scan) -> Mesh:
    """The plate by naive occupancy, fitted after whatever random numbers were drawn before."""
    torch.manual_seed(1)
    return METHODS["naive occupancy"](scan())


def test_naive_occupancy_gives_bone_a_back_face(
    naive_mesh: Mesh, scan: Scan, plate_at: Callable[..., Mesh]
) -> None:
    assert mean_mm(plate_at(23.0), naive_mesh) < 0.5
    assert mean_mm(plate_at(23.0), METHODS["TSDF, labels only"](scan())) > 2.0


def test_naive_occupancy_stays_near_what_was_seen(scan: Scan) -> None:
    z_mm = METHODS["naive occupancy"](scan(every=11)).vertices_mm[:, 2]
    # Slices at 0 and 11 mm reach 3 mm, and half a voxel at most is lost or won by rounding.
    assert (z_mm < 3.6).any() and (z_mm > 7.4).any()
    assert not ((z_mm > 3.6) & (z_mm < 7.4)).any()


def test_naive_occupancy_is_the_same_each_time(naive_mesh: Mesh, scan: Scan) -> None:
    torch.manual_seed(2)
    again = METHODS["naive occupancy"](scan())
    np.testing.assert_array_equal(again.vertices_mm, naive_mesh.vertices_mm)
