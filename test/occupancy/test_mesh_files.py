"""Meshes in files, cleaning and decimation."""

from pathlib import Path

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import read_mesh, write_mesh
from us_recon.occupancy.mesh_tools import decimated, parts_near, without_small_parts


def square(size_mm: float, x_mm: float = 0.0) -> Mesh:
    """Return two triangles of size^2 / 2 each."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32) * size_mm
    return Mesh(
        vertices_mm=(corners + np.array([x_mm, 0, 0])).astype(np.float32),
        triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        confidence=np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    )


def beside(a: Mesh, b: Mesh) -> Mesh:
    assert a.confidence is not None
    assert b.confidence is not None
    return Mesh(
        np.concatenate([a.vertices_mm, b.vertices_mm]),
        np.concatenate([a.triangles, b.triangles + len(a.vertices_mm)]).astype(np.int32),
        np.concatenate([a.confidence, b.confidence]),
    )


def test_area_by_hand() -> None:
    np.testing.assert_allclose(square(4.0).areas_mm2(), [8.0, 8.0])
    assert square(4.0).area_mm2 == pytest.approx(16.0)
    assert Mesh.empty().area_mm2 == 0.0


@pytest.mark.parametrize("ending", [".ply", ".stl", ".obj", ".PLY"])
def test_written_and_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mesh{ending}"
    mesh = square(4.0, x_mm=-7.25)
    write_mesh(mesh, path)
    again = read_mesh(path)
    ours = mesh.corners_mm().reshape(2, 9)
    theirs = again.corners_mm().reshape(2, 9)
    np.testing.assert_allclose(np.sort(theirs, axis=0), np.sort(ours, axis=0), atol=1e-5)
    assert len(again.vertices_mm) == 4  # STL has six corners: those that coincide are one
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_ply_holds_confidence(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    write_mesh(square(1.0), path)
    head, body = path.read_bytes().split(b"end_header\n")
    assert b"property float confidence" in head
    assert b"millimetre" in head
    vertices = np.frombuffer(body, "<f4", 16).reshape(4, 4)
    np.testing.assert_allclose(vertices[:, 3], [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("ending", [".ply", ".obj"])
def test_empty_mesh_comes_back_empty(tmp_path: Path, ending: str) -> None:
    write_mesh(Mesh.empty(), tmp_path / f"mesh{ending}")
    assert read_mesh(tmp_path / f"mesh{ending}").is_empty


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "mesh.stl"
    write_mesh(square(4.0), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="empty mesh"):
        write_mesh(Mesh.empty(), path)
    assert path.read_bytes() == before


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a file ending in \.ply"):
        write_mesh(square(1.0), tmp_path / "mesh.xyz")
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "absent.ply")
    broken = tmp_path / "broken.stl"
    broken.write_bytes(b"not a mesh")
    with pytest.raises(InputError, match="no triangles"):
        read_mesh(broken)


def test_small_parts_go() -> None:
    # 16 mm^2 and, 10 mm away, 1 mm^2.
    both = beside(square(1.0, x_mm=10.0), square(4.0))
    kept = without_small_parts(both, 2.0)
    assert kept.area_mm2 == pytest.approx(16.0)
    np.testing.assert_allclose(kept.vertices_mm, square(4.0).vertices_mm)
    assert kept.confidence is not None
    np.testing.assert_allclose(kept.confidence, [0.1, 0.2, 0.3, 0.4])
    assert without_small_parts(both, 0.5).area_mm2 == pytest.approx(17.0)
    assert without_small_parts(both, 100.0).is_empty
    assert without_small_parts(Mesh.empty(), 1.0).is_empty


def test_small_parts_stay_where_something_else_speaks_for_them() -> None:
    three = beside(beside(square(1.0, x_mm=10.0), square(4.0)), square(1.0, x_mm=20.0))
    asked = []

    def known(points_mm: np.ndarray) -> np.ndarray:
        asked.append(points_mm)
        return (points_mm == [21.0, 1.0, 0.0]).all(axis=1)

    kept = without_small_parts(three, 2.0, known)
    assert kept.area_mm2 == pytest.approx(17.0)
    assert kept.vertices_mm[:, 0].max() == 21.0
    assert [len(points) for points in asked] == [8]  # not those of the large part


def test_parts_that_no_point_touches_go() -> None:
    both = beside(square(1.0, x_mm=10.0), square(4.0))
    points = np.array([[10.5, 0.5, 0.8], [50.0, 0.0, 0.0]])
    assert parts_near(both, points, 2.0).area_mm2 == pytest.approx(1.0)
    assert parts_near(both, points, 20.0).area_mm2 == pytest.approx(17.0)
    assert parts_near(both, points, 0.5).is_empty
    assert parts_near(both, np.zeros((0, 3)), 2.0).is_empty
    assert parts_near(Mesh.empty(), points, 2.0).is_empty


def test_decimation_keeps_a_plane() -> None:
    x, y = np.meshgrid(np.arange(21.0), np.arange(21.0))
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(20)[:, None] * 21 + np.arange(20)).reshape(-1)
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 22], axis=1),
            np.stack([corner, corner + 22, corner + 21], axis=1),
        ]
    ).astype(np.int32)
    plane = Mesh(vertices, triangles, np.full(441, 0.5, np.float32))
    fewer = decimated(plane, 100)
    assert 0 < len(fewer.triangles) <= 100
    assert fewer.area_mm2 == pytest.approx(400.0, rel=0.02)
    assert fewer.confidence is not None
    assert (fewer.confidence == 0.5).all()
    assert decimated(plane, 10_000) is plane
    with pytest.raises(InputError, match="max_triangles"):
        decimated(plane, 0)
