"""Meshes in PLY, STL and OBJ files, in millimetres, by Open3D."""

from pathlib import Path

import numpy as np
import open3d as o3d

from us_recon.errors import InputError
from us_recon.files import atomic_path
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import from_open3d, to_open3d

_EMPTY_OBJ = b"# no surface\n"
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}
_SEEN_RGB, _FILLED_RGB = (237, 222, 186), (115, 153, 217)
FORMATS = (".ply", ".stl", ".obj")


def write_mesh(mesh: Mesh, path: Path | str) -> None:
    """Write a mesh, whole or not at all.

    A PLY file also holds the confidence, as the vertex property `confidence`, and, where a prior
    filled something in, `observed` (1 or 0) and a colour: that of bone, or blue for what is filled
    in. An empty mesh gives a valid file without triangles, except in STL, which has no such thing.

    Args:
        mesh: What to write.
        path: File whose ending names the format: .ply, .stl or .obj.

    Raises:
        InputError: Another ending, an empty mesh as STL, or a file that cannot be written.
    """
    path = Path(path)
    ending = _ending(path)
    if mesh.is_empty and ending == ".stl":
        raise InputError(f"{path}: an STL file cannot hold an empty mesh; use .ply or .obj")
    with atomic_path(path) as partial:
        if ending == ".ply":
            partial.write_bytes(_ply(mesh))
            return
        if mesh.is_empty:
            partial.write_bytes(_EMPTY_OBJ)
            return
        legacy = to_open3d(mesh)
        if ending == ".stl":  # has a normal per triangle
            legacy.compute_triangle_normals()
        if not o3d.io.write_triangle_mesh(partial, legacy, print_progress=False):
            raise InputError(f"{path} cannot be written")


def read_mesh(path: Path | str) -> Mesh:
    """Read a mesh and join the vertices that coincide, as those of each STL triangle do.

    What `write_mesh` made of an empty mesh is read as one.

    Args:
        path: PLY, STL or OBJ file in millimetres.

    Raises:
        InputError: No such file, another ending, or no triangles in it.
    """
    path = Path(path)
    ending = _ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if _says_empty(path, ending):
        return Mesh.empty()
    legacy = o3d.io.read_triangle_mesh(path)
    if len(legacy.triangles) == 0:
        raise InputError(f"{path} holds no triangles that can be read as {ending[1:].upper()}")
    return from_open3d(legacy.remove_duplicated_vertices())


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise InputError(f"{path}: expected a file ending in {', '.join(FORMATS)}")
    return ending


def _says_empty(path: Path, ending: str) -> bool:
    with path.open("rb") as file:
        start = file.read(2048)
    return start == _EMPTY_OBJ if ending == ".obj" else b"\nelement face 0\n" in start


def _ply(mesh: Mesh) -> bytes:
    """Binary PLY (Turk 1994); Open3D's writer knows no confidence."""
    vertex = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if mesh.confidence is not None:
        vertex.append(("confidence", "<f4"))
    if mesh.observed is not None:
        vertex += [(name, "u1") for name in ("observed", "red", "green", "blue")]
    vertices = np.zeros(len(mesh.vertices_mm), vertex)
    for axis, name in enumerate("xyz"):
        vertices[name] = mesh.vertices_mm[:, axis]
    if mesh.confidence is not None:
        vertices["confidence"] = mesh.confidence
    if mesh.observed is not None:
        vertices["observed"] = mesh.observed
        colours = np.where(mesh.observed[:, None], _SEEN_RGB, _FILLED_RGB)
        for channel, name in enumerate(("red", "green", "blue")):
            vertices[name] = colours[:, channel]
    faces = np.zeros(len(mesh.triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment unit millimetre",
        f"element vertex {len(vertices)}",
        *(f"property {_PLY_TYPES[kind]} {name}" for name, kind in vertex),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()
