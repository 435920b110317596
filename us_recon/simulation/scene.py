"""What the virtual scanner needs to know of a virtual patient, and that knowledge on a grid."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64
from skimage.measure import marching_cubes

from us_recon.errors import InputError
from us_recon.geometry.grid import Grid
from us_recon.imaging.volume import Volume
from us_recon.occupancy.mesh import Mesh
from us_recon.simulation.lookup import look_up

CHUNK_POINTS = 400_000
BACKSCATTER, ATTENUATION, CONTACT = 0, 1, 2
LEVEL_SETS = 3  # fields before the level sets


@dataclass(frozen=True)
class Interface:
    """A surface that reflects: the zero crossing of one level set, negative behind it.

    Attributes:
        name: What it is, e.g. "bone".
        reflectivity: Pressure reflection coefficient at normal incidence, 0 to 1.
        exponent: The coherent echo falls as ``cos(incidence) ** exponent``.
        roughness: Diffuse echo relative to the coherent one; it falls as the cosine.
        patchiness_db: Standard deviation of the reflectivity along the surface.
        blocks: Whether it reflects enough to matter for transmission (bone, gas).
        haze_db: Reverberation haze right behind it, relative to the speckle of soft tissue there;
            bone has a clean shadow, gas a dirty one (Sommer and Taylor, Radiology 135 (1980) 399).
        haze_db_cm: How fast the haze falls with depth, before gain.
        repeats: Strength of its repeats relative to `reverberation` of the scanner.
    """

    name: str
    reflectivity: float
    exponent: float = 4.0
    roughness: float = 0.1
    patchiness_db: float = 2.0
    blocks: bool = False
    haze_db: float = -np.inf
    haze_db_cm: float = 12.0
    repeats: float = 1.0


@dataclass(frozen=True, eq=False)
class Properties:
    """Acoustic properties at n points.

    Attributes:
        backscatter: Root mean square speckle amplitude relative to average soft tissue.
        attenuation_db_cm: One-way attenuation at the asked frequency.
        level_sets_mm: One column per interface, about a signed distance near its zero.
    """

    backscatter: Float32[np.ndarray, " n"]
    attenuation_db_cm: Float32[np.ndarray, " n"]
    level_sets_mm: Float32[np.ndarray, "n interfaces"]


@runtime_checkable
class Scene(Protocol):
    """A virtual patient. All points are in the scene's own frame, which is its `mri` frame."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The reflecting surfaces, in the order of the level sets."""

    @property
    def solids(self) -> tuple[str, ...]:
        """Interfaces that are true surfaces; the first is what a mapper should find."""

    @property
    def target(self) -> str:
        """The interface that a label marks, the first of the solids; empty where there is none."""

    @property
    def target_is_solid(self) -> bool:
        """Whether a label marks all that lies inside the target, or only its visible face."""

    @property
    def bounds_mm(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Lowest and highest corner of the part that can be scanned."""

    @property
    def T_scene_approach(self) -> Float64[np.ndarray, "4 4"]:
        """Where to scan: origin near the contact surface, y into the patient, z along the sweep."""

    def properties(self, points_mm: Float32[np.ndarray, "n 3"], frequency_mhz: float) -> Properties:
        """Return the acoustic properties at points."""

    def contact_distance_mm(
        self, points_mm: Float64[np.ndarray, "n 3"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the distance to the surface that the probe touches, negative inside."""

    def mri(self) -> Volume:
        """Return the MRI, whose space is the scene's frame; it shows the anatomy as it was."""

    def shift_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return how far the anatomy that the MRI shows at points has moved since.

        Everything else that a scene is asked for is true after this shift.
        """


class StillScene:
    """Base of the scenes whose anatomy has not moved since the MRI."""

    def shift_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return zeros: nothing has moved."""
        return np.zeros_like(points_mm)


@dataclass(frozen=True, eq=False)
class SceneGrid:
    """The properties of a scene on a regular grid: what the scanner looks up per frame.

    Attributes:
        grid: Voxels in the scene's frame.
        interfaces: The reflecting surfaces.
        fields: Speckle amplitude, attenuation in dB/cm, distance to the contact surface in mm, then
            the level set of each interface.
        target: Interface that a label marks; empty for the first blocking one, whichever it is.
        target_is_solid: Whether a label marks the target's inside instead of its visible face.
    """

    grid: Grid
    interfaces: tuple[Interface, ...]
    fields: torch.Tensor
    target: str = ""
    target_is_solid: bool = False

    @cached_property
    def _by_voxel(self) -> Float32[np.ndarray, "i j k fields"]:
        return np.ascontiguousarray(self.fields.permute(1, 2, 3, 0).numpy())

    def fields_at(self, points_mm: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "fields n"]:
        """Interpolate the fields at points; beyond the grid the border's values hold."""
        origin = np.asarray(self.grid.origin_mm, dtype=np.float32)
        return look_up(self._by_voxel, (points_mm - origin) / np.float32(self.grid.spacing_mm))

    def contact_distance_mm(
        self, points_mm: Float32[np.ndarray, "n 3"]
    ) -> Float32[np.ndarray, " n"]:
        """Return the distance to the contact surface; above the grid it goes on growing."""
        origin = np.asarray(self.grid.origin_mm, dtype=np.float32)
        size_mm = (np.asarray(self.grid.shape, dtype=np.float32) - 1) * self.grid.spacing_mm
        held = np.clip(points_mm, origin, origin + size_mm).astype(np.float32)
        beyond_mm = np.linalg.norm(points_mm - held, axis=1)
        distance_mm = self.fields_at(held)[CONTACT]
        return np.where(distance_mm > 0, distance_mm + beyond_mm, distance_mm).astype(np.float32)

    def surface(self, name: str) -> Mesh:
        """Return an interface as a closed mesh; where it leaves the grid it is capped.

        Raises:
            InputError: No interface has that name.
        """
        names = [interface.name for interface in self.interfaces]
        if name not in names:
            raise InputError(f"interface {name!r} is not in the scene; it has {', '.join(names)}")
        level_set = self.fields[LEVEL_SETS + names.index(name)].numpy()
        outside = float(max(level_set.max(), self.grid.spacing_mm))
        # Values of almost zero would make triangles without area.
        level_set = np.where(np.abs(level_set) < 1e-3, np.float32(1e-3), level_set)
        padded = np.pad(level_set, 1, constant_values=outside)
        vertices, triangles, _, _ = marching_cubes(padded, 0.0)
        vertices_mm = np.asarray(self.grid.origin_mm) + (vertices - 1.0) * self.grid.spacing_mm
        return Mesh(vertices_mm.astype(np.float32), triangles.astype(np.int32))


def on_grid(scene: Scene, frequency_mhz: float, spacing_mm: float = 1.0) -> SceneGrid:
    """Evaluate a scene on a grid.

    Args:
        scene: The virtual patient.
        frequency_mhz: Centre frequency that the attenuation is for.
        spacing_mm: Grid spacing. Surfaces are interpolated between voxels.
    """
    low, high = scene.bounds_mm
    grid = Grid.around(low, high, spacing_mm)
    count = int(np.prod(grid.shape))
    fields = np.empty((count, LEVEL_SETS + len(scene.interfaces)), dtype=np.float32)
    for start in range(0, count, CHUNK_POINTS):
        part = slice(start, min(start + CHUNK_POINTS, count))
        flat = np.arange(part.start, part.stop)
        points_mm = grid.index_to_mm(np.stack(np.unravel_index(flat, grid.shape), axis=-1))
        found = scene.properties(points_mm.astype(np.float32), frequency_mhz)
        fields[part, BACKSCATTER] = found.backscatter
        fields[part, ATTENUATION] = found.attenuation_db_cm
        fields[part, CONTACT] = scene.contact_distance_mm(points_mm)
        fields[part, LEVEL_SETS:] = found.level_sets_mm
    return SceneGrid(
        grid=grid,
        interfaces=scene.interfaces,
        # All fields of a voxel lie together in memory, as the look-up reads them.
        fields=torch.from_numpy(fields.reshape(*grid.shape, -1)).permute(3, 0, 1, 2),
        target=scene.target,
        target_is_solid=scene.target_is_solid,
    )
