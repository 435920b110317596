"""The mapper with a prior: what was seen stays, the rest is filled in, files go along."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import read_mesh, write_mesh
from us_recon.occupancy.mesh_queries import SurfaceQuery, sample_surface
from us_recon.occupancy.prior.files import write_prior
from us_recon.occupancy.prior.shape import ShapePrior
from us_recon.pipeline.mapping import MESH_FILE, SUMMARY_FILE, save_map_outputs

Bracket = Callable[..., Mesh]
# The bracket in the world of the sweep: its long arm lies along x, its foot turned to the probe.
T_WORLD_BRACKET = from_euler_xyz_deg(np.array([-25.0, 28.0, 4.0]), np.array([90.0, 0.0, 0.0]))


@pytest.fixture(scope="module")
def wide() -> ProbeGeometry:
    return ProbeGeometry.linear(70.0, 60.0, 140, 120, beam_count=70, sample_count=121)


@pytest.fixture(scope="module")
def whole(bracket: Bracket) -> Mesh:
    return bracket(51.0, T_WORLD_BRACKET)


@pytest.fixture(scope="module")
def sweep(whole: Mesh, wide: ProbeGeometry) -> list[TrackedFrame]:
    """Labelled frames, 2 mm apart along z; a label marks what lies behind the first surface."""
    query = SurfaceQuery(whole)
    grid = wide.pixels_to_mm(wide.pixel_grid)
    x, rows_mm = grid[0, :, 0], grid[..., 1]
    frames = []
    for k, z in enumerate(np.arange(-6.0, 30.0, 2.0)):
        origins = np.column_stack([x, np.zeros_like(x), np.full_like(x, z)])
        hit = query.first_hits_mm(origins, np.tile([0.0, 1.0, 0.0], (len(x), 1)))
        label = (rows_mm > hit[None, :]).astype(np.uint8)
        T = from_euler_xyz_deg(np.array([0.0, 0.0, z]), np.zeros(3))
        frames.append(TrackedFrame(k, np.full(wide.shape, 100, np.uint8), T, wide, label))
    return frames


@pytest.fixture(scope="module")
def prior_file(prior: ShapePrior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prior") / "bracket.npz"
    write_prior(prior, path)
    return path


def mapped(frames: list[TrackedFrame], settings: MapperSettings) -> OccupancyMapper:
    mapper = OccupancyMapper(settings)
    for frame in frames:
        mapper.integrate(frame)
    return mapper


def from_truth_mm(whole: Mesh, mesh: Mesh) -> float:
    return float(SurfaceQuery(mesh).distances_mm(sample_surface(whole, 4000)[0]).mean())


def test_without_a_prior_nothing_is_invented(
    sweep: list[TrackedFrame], whole: Mesh, prior_file: Path
) -> None:
    settings = MapperSettings(surfaces="label")
    without = mapped(sweep, settings).snapshot()
    assert without.prior is None
    assert without.mesh.observed is None
    # All of it lies near what was labelled: a frame speaks for 3 mm off its plane, and no more.
    off = SurfaceQuery(whole).distances_mm(without.mesh.vertices_mm)
    assert np.median(off) < 1.0 and off.max() < 3.5
    assert from_truth_mm(whole, without.mesh) > 3.0

    mapper = mapped(sweep, replace(settings, prior=str(prior_file)))
    completed = mapper.snapshot()
    assert completed.prior is not None and "filled in" in completed.prior.message
    mesh = completed.mesh
    assert mesh.observed is not None
    np.testing.assert_array_equal(mesh.vertices_mm[mesh.observed], without.mesh.vertices_mm)
    assert from_truth_mm(whole, mesh) < 0.3 * from_truth_mm(whole, without.mesh)
    mapper.reset()
    assert mapper.snapshot().prior is not None
    assert mapper.snapshot().mesh.is_empty


def test_what_a_run_writes(sweep: list[TrackedFrame], prior_file: Path, tmp_path: Path) -> None:
    mapper = mapped(sweep, MapperSettings(surfaces="label", prior=str(prior_file)))
    snapshot = save_map_outputs(mapper, tmp_path)
    told = json.loads((tmp_path / SUMMARY_FILE).read_text())["prior"]
    assert told["message"] == snapshot.prior.message  # type: ignore[union-attr]
    assert told["explained"] > 0.7 and len(told["coefficients"]) == 3
    header = (tmp_path / MESH_FILE).read_bytes()[:600]
    assert b"property uchar observed" in header and b"property uchar blue" in header
    again = OccupancyMapper.load(tmp_path / "map.npz")
    np.testing.assert_array_equal(again.snapshot().mesh.vertices_mm, snapshot.mesh.vertices_mm)
    assert OccupancyMapper.load(tmp_path / "map.npz", prior="").snapshot().prior is None
    prior_file.rename(prior_file.with_suffix(".gone"))
    try:
        with pytest.raises(InputError, match="no such file"):
            OccupancyMapper.load(tmp_path / "map.npz")
    finally:
        prior_file.with_suffix(".gone").rename(prior_file)


def test_absent_prior() -> None:
    with pytest.raises(InputError, match=r"absent\.npz: no such file"):
        OccupancyMapper(MapperSettings(prior="absent.npz"))


def test_ply_shows_both_apart(tmp_path: Path) -> None:
    vertices = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32)
    triangles = np.array([[0, 1, 2]], np.int32)
    observed = np.array([True, False, True])
    write_mesh(Mesh(vertices, triangles, np.ones(3, np.float32), observed), tmp_path / "m.ply")
    data = (tmp_path / "m.ply").read_bytes()
    rows = np.frombuffer(
        data[data.index(b"end_header\n") + 11 :],
        [("xyz", "<f4", 3), ("confidence", "<f4"), ("observed", "u1"), ("rgb", "u1", 3)],
        count=3,
    )
    np.testing.assert_array_equal(rows["observed"], [1, 0, 1])
    assert (rows["rgb"][0] == rows["rgb"][2]).all() and (rows["rgb"][0] != rows["rgb"][1]).all()
    np.testing.assert_array_equal(read_mesh(tmp_path / "m.ply").vertices_mm, vertices)
