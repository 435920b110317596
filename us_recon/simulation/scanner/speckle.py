"""The echoes of point scatterers, laid into beam space with their phase."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32
from numpy.typing import NDArray

from us_recon.compiled import compiled
from us_recon.settings import setting
from us_recon.simulation.lookup import look_up
from us_recon.simulation.scanner.beam import Beam, BeamTransfer
from us_recon.simulation.scanner.compression import Compression
from us_recon.simulation.scanner.propagation import CENTRE_PLANE, Propagation
from us_recon.simulation.scanner.scatterers import ScattererLattice, sector_box_mm

TABLE_MM = 0.5
SLICE_REACH = 2.0  # scatterers beyond this many standard deviations of the slice are left out

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SpeckleSettings:
    """How dense the scatterers lie."""

    scatterers_per_cell: float = setting(
        3.0, "Scatterers in the resolution cell at the focus.", minimum=1.0, maximum=50.0
    )


class Speckle:
    """The speckle of one scene with one probe.

    Args:
        beam: Probe and point spread function.
        transfer: Its filters, for the energy of the point spread function.
        settings: Density.
        compression: Moves scatterers with their tissue.
        seed: Texture.
    """

    def __init__(
        self,
        beam: Beam,
        transfer: BeamTransfer,
        settings: SpeckleSettings,
        compression: Compression,
        seed: int,
    ) -> None:
        self._beam = beam
        self._compression = compression
        depth_mm = beam.geometry.sample_depths_mm
        self._slice_sigma_mm = beam.slice_sigma_mm(depth_mm).astype(np.float32)
        self._lattice = ScattererLattice(_lattice_pitch_mm(beam, settings), seed)
        self._scale = self._normalisation(transfer)
        # Compressed tissue comes from above the face.
        self._margin_mm = 1.0 + compression.settings.compression_mm
        self._table = self._tabulate()

    def echoes(self, paths: Propagation) -> Complex64[np.ndarray, "beams samples"]:
        """Return the echoes at a pose, before the blur and before losses on the way."""
        geometry = self._beam.geometry
        reach_mm = SLICE_REACH * float(self._slice_sigma_mm.max())
        found = self._lattice.near_plane(
            paths.T_scene_transducer, geometry, reach_mm, self._margin_mm
        )
        plane_mm = self._compressed(found.plane_mm)
        beam, sample = self._beam.locate(plane_mm[0], plane_mm[1])
        at = np.clip(sample + np.float32(0.5), 0, geometry.sample_count - 1).astype(np.int32)
        elevation = plane_mm[2] / self._slice_sigma_mm[at]
        amplitude = np.exp(np.float32(-0.5) * elevation * elevation) * self._scale[at]
        plane = np.rint(plane_mm[2] * np.float32(1.0 / paths.plane_offsets_mm[-1]))
        plane = np.clip(plane, -1, 1).astype(np.int32) + np.int32(CENTRE_PLANE)
        # The echo's phase follows its path there and back: speckle moves with the tissue.
        per_sample = np.float32(4.0 * np.pi / self._beam.wavelength_mm * geometry.sample_step_mm)
        phase = found.phase_rad - per_sample * sample
        total = np.zeros((geometry.beam_count, geometry.sample_count), dtype=np.complex64)
        _lay(beam, sample, plane, amplitude, np.cos(phase), np.sin(phase), paths.backscatter, total)
        return total

    def _compressed(self, tissue_mm: Float32[np.ndarray, "3 n"]) -> Float32[np.ndarray, "3 n"]:
        """Move points of tissue to where the image has them, by the table."""
        if self._table is None:
            return tissue_mm
        index = np.zeros((tissue_mm.shape[1], 3), dtype=np.float32)
        index[:, :2] = (tissue_mm[:2].T - self._table_low_mm) / np.float32(TABLE_MM)
        moved_mm = tissue_mm.copy()
        moved_mm[1] += look_up(self._table, index)[0]
        return moved_mm

    def _tabulate(self) -> Float32[np.ndarray, "i j 2 1"] | None:
        """Tabulate the displacement, which is the same at all poses; two equal slices in z."""
        if self._compression.settings.compression_mm == 0.0:
            return None
        low, high = sector_box_mm(self._beam.geometry)
        x, y = (
            np.arange(a - self._margin_mm, b + self._margin_mm + TABLE_MM, TABLE_MM)
            for a, b in zip(low, high, strict=True)
        )
        self._table_low_mm = np.array([x[0], y[0]], dtype=np.float32)
        points = np.stack(np.meshgrid(x, y, [0.0, 0.0], indexing="ij"), axis=-1)
        moved_mm = self._compression.displacement_mm(points.reshape(-1, 3))[:, 1]
        return np.ascontiguousarray(moved_mm.reshape(len(x), len(y), 2, 1), dtype=np.float32)

    def _normalisation(self, transfer: BeamTransfer) -> Float32[np.ndarray, " samples"]:
        """Return the factor that gives speckle of unit backscatter a mean square of 1.

        It is the energy of the point spread function times the scatterer density: Gaussian
        profiles integrate to sqrt(pi) sigma; the lateral one has unit sum, not unit peak.
        """
        geometry = self._beam.geometry
        pitch_mm = self._beam.beam_pitch_mm(geometry.sample_depths_mm)
        density = 1.0 / self._lattice.pitch_mm**3
        energy = np.sqrt(np.pi) * self._slice_sigma_mm * pitch_mm * geometry.sample_step_mm
        energy = energy * np.sqrt(np.pi) * transfer.sigma_samples
        energy = energy / (2.0 * np.sqrt(np.pi) * transfer.sigma_beams)
        return (1.0 / np.sqrt(np.maximum(density * energy, 1e-12))).astype(np.float32)


def _lattice_pitch_mm(beam: Beam, settings: SpeckleSettings) -> float:
    focus = np.array([min(beam.settings.focus_mm, beam.geometry.depth_mm)])
    cell_mm3 = beam.axial_fwhm_mm * beam.lateral_fwhm_mm(focus)[0] * beam.settings.slice_fwhm_mm
    return float((cell_mm3 / settings.scatterers_per_cell) ** (1.0 / 3.0))


@compiled
def _lay(
    beam: Array, sample: Array, plane: NDArray[np.int32], amplitude: Array, cosine: Array,
    sine: Array, backscatter: NDArray[np.float32], total: NDArray[np.complex64],
) -> None:  # fmt: skip
    """Add each scatterer's echo to the beam-space cell that it falls in."""
    half = np.float32(0.5)
    last_row, last_column = np.float32(total.shape[0]), np.float32(total.shape[1])
    for n in range(beam.size):
        row, column = beam[n] + half, sample[n] + half
        if (row > 0) & (row < last_row) & (column > 0) & (column < last_column):
            i, j = int(row), int(column)
            strength = amplitude[n] * backscatter[plane[n], i, j]
            total[i, j] += np.complex64(complex(strength * cosine[n], strength * sine[n]))
