"""Point scatterers that are fixed in the tissue.

Scatterers sit on a jittered cubic lattice in the scene. Position and phase of each are a hash of
its lattice cell and the seed, so nothing is stored, every pose sees the same tissue, and
overlapping frames have coherent speckle. Their amplitude is 1: with several in each resolution
cell the sum is circular Gaussian (Goodman, Statistical Optics, chapter 2), that is, fully developed
speckle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32
from numpy.typing import NDArray

from us_recon.compiled import compiled
from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.noise import hash_cells, mix

_PER_16_BITS = np.float32(2.0**-16)


@dataclass(frozen=True, eq=False)
class Scatterers:
    """The scatterers near one image plane.

    Attributes:
        plane_mm: Positions in the transducer frame: x lateral, y depth, z elevation.
        phase_rad: Uniform over the circle.
    """

    plane_mm: Float32[np.ndarray, "3 n"]
    phase_rad: Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class ScattererLattice:
    """A cubic lattice of hashed scatterers.

    Attributes:
        pitch_mm: Lattice constant; the density is its inverse cube.
        seed: Tissue texture; the same seed gives the same tissue.
    """

    pitch_mm: float
    seed: int

    def near_plane(
        self,
        T_scene_transducer: Float64[np.ndarray, "4 4"],
        geometry: ProbeGeometry,
        half_thickness_mm: float,
        margin_mm: float,
    ) -> Scatterers:
        """Return the scatterers within `half_thickness_mm` of the imaged sector's plane.

        Args:
            T_scene_transducer: Pose of the array face in the scene.
            geometry: Probe whose sector is imaged.
            half_thickness_mm: Largest elevation distance.
            margin_mm: How far beyond the sector's bounding box scatterers are kept.
        """
        cells = self._cells_near(T_scene_transducer, geometry, half_thickness_mm, margin_mm)
        bits = np.empty((2, cells.shape[1]), dtype=np.uint32)
        bits[0] = hash_cells(cells, self.seed)
        bits[1] = mix(bits[0] + np.uint32(0x9E3779B9))
        plane_mm = np.empty(cells.shape, dtype=np.float32)
        phase_rad = np.empty(cells.shape[1], dtype=np.float32)
        T = T_scene_transducer.astype(np.float32)
        _jitter(cells, bits, np.float32(self.pitch_mm), T, plane_mm, phase_rad)
        return Scatterers(plane_mm, phase_rad)

    def _cells_near(
        self,
        T_scene_transducer: Float64[np.ndarray, "4 4"],
        geometry: ProbeGeometry,
        half_thickness_mm: float,
        margin_mm: float,
    ) -> Int32[np.ndarray, "3 n"]:
        """List lattice cells in the slab: all columns along the axis nearest to its normal."""
        rotation, origin = T_scene_transducer[:3, :3], T_scene_transducer[:3, 3]
        normal = rotation[:, 2]
        along = int(np.argmax(np.abs(normal)))
        u, v = [axis for axis in range(3) if axis != along]
        low, high = sector_box_mm(geometry)
        corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
        corners_scene = corners @ rotation[:, :2].T + origin
        first = np.floor((corners_scene.min(axis=0) - margin_mm) / self.pitch_mm).astype(np.int32)
        last = np.ceil((corners_scene.max(axis=0) + margin_mm) / self.pitch_mm).astype(np.int32)
        grid_u, grid_v = np.meshgrid(
            np.arange(first[u], last[u] + 1, dtype=np.int32),
            np.arange(first[v], last[v] + 1, dtype=np.int32),
            indexing="ij",
        )
        cell_u, cell_v = grid_u.ravel(), grid_v.ravel()
        from_origin_u = (cell_u + 0.5) * self.pitch_mm - origin[u]
        from_origin_v = (cell_v + 0.5) * self.pitch_mm - origin[v]
        height = -(normal[u] * from_origin_u + normal[v] * from_origin_v) / normal[along]
        in_plane = [
            rotation[u, axis] * from_origin_u
            + rotation[v, axis] * from_origin_v
            + rotation[along, axis] * height
            for axis in (0, 1)
        ]
        near = _in_sector(in_plane[0], in_plane[1], geometry, margin_mm)
        reach = half_thickness_mm / abs(normal[along]) / self.pitch_mm
        base = np.floor((height[near] + origin[along]) / self.pitch_mm - reach).astype(np.int32)
        layers = np.arange(int(np.ceil(2.0 * reach)) + 1, dtype=np.int32)
        cells = np.empty((3, layers.size, base.size), dtype=np.int32)
        cells[u] = cell_u[near]
        cells[v] = cell_v[near]
        cells[along] = base + layers[:, None]
        return cells.reshape(3, -1)


def sector_box_mm(
    geometry: ProbeGeometry,
) -> tuple[Float64[np.ndarray, "2"], Float64[np.ndarray, "2"]]:
    """Return the corners (x, y) of the box around all beams."""
    points = geometry.beam_points_mm[:, [0, -1]].reshape(-1, 2)
    deepest = geometry.beam_points_mm[:, -1, 1].max()
    high = np.array([points[:, 0].max(), deepest])
    return points.min(axis=0), high


def _in_sector(
    x_mm: Float64[np.ndarray, " n"],
    y_mm: Float64[np.ndarray, " n"],
    geometry: ProbeGeometry,
    margin_mm: float,
) -> Bool[np.ndarray, " n"]:
    depth_mm = geometry.mm_to_beams(np.stack([x_mm, y_mm], axis=-1))[..., 1]
    depth_mm = depth_mm * geometry.sample_step_mm
    inside = (depth_mm > -margin_mm) & (depth_mm < geometry.depth_mm + margin_mm)
    first, last = geometry.beam_points_mm[[0, -1]][:, [0, -1]]
    return (
        inside
        & (_left_of(first, x_mm, y_mm) < margin_mm)
        & (_left_of(last, x_mm, y_mm) > -margin_mm)
    )


def _left_of(
    beam_mm: Float64[np.ndarray, "2 2"],
    x_mm: Float64[np.ndarray, " n"],
    y_mm: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """Return the distance by which points lie on the unmarked side of a beam."""
    direction = (beam_mm[1] - beam_mm[0]) / np.linalg.norm(beam_mm[1] - beam_mm[0])
    return np.asarray(direction[0] * (y_mm - beam_mm[0, 1]) - direction[1] * (x_mm - beam_mm[0, 0]))


@compiled
def _jitter(
    cells: NDArray[np.int32], bits: NDArray[np.uint32], pitch_mm: float, T: NDArray[np.float32],
    plane_mm: NDArray[np.float32], phase_rad: NDArray[np.float32],
) -> None:  # fmt: skip
    """Place a scatterer in each cell by 48 of its bits, in the transducer frame, and turn it."""
    low, turn = np.uint32(0xFFFF), np.float32(2.0 * np.pi)
    for n in range(cells.shape[1]):
        x = np.float32(bits[0, n] & low) * _PER_16_BITS + np.float32(cells[0, n])
        y = np.float32(bits[0, n] >> 16) * _PER_16_BITS + np.float32(cells[1, n])
        z = np.float32(bits[1, n] >> 16) * _PER_16_BITS + np.float32(cells[2, n])
        x, y, z = x * pitch_mm - T[0, 3], y * pitch_mm - T[1, 3], z * pitch_mm - T[2, 3]
        for axis in range(3):
            plane_mm[axis, n] = T[0, axis] * x + T[1, axis] * y + T[2, axis] * z
        phase_rad[n] = np.float32(bits[1, n] & low) * _PER_16_BITS * turn
