"""The echoes of point scatterers, laid into beam space with their phase."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float32

from us_recon.settings import setting
from us_recon.simulation.beam import Beam, BeamTransfer
from us_recon.simulation.compression import Compression
from us_recon.simulation.propagation import CENTRE_PLANE, Propagation
from us_recon.simulation.scatterers import ScattererLattice
from us_recon.simulation.specular import sum_into_beams

SLICE_REACH = 2.0  # scatterers beyond this many standard deviations of the slice are left out


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

    def echoes(self, paths: Propagation) -> Complex64[np.ndarray, "beams samples"]:
        """Return the echoes at a pose, before the blur and before losses on the way."""
        geometry = self._beam.geometry
        reach_mm = SLICE_REACH * float(self._slice_sigma_mm.max())
        found = self._lattice.near_plane(
            paths.T_scene_transducer, geometry, reach_mm, self._margin_mm
        )
        plane_mm = found.plane_mm
        if self._compression.settings.compression_mm > 0:
            plane_mm = plane_mm + self._compression.displacement_mm(plane_mm.T).T
        beam, sample = self._beam.locate(plane_mm[0], plane_mm[1])
        inside = (beam > -0.5) & (beam < geometry.beam_count - 0.5)
        inside &= (sample > -0.5) & (sample < geometry.sample_count - 0.5)
        kept = np.flatnonzero(inside)
        depth_mm = sample[kept] * np.float32(geometry.sample_step_mm)
        beam = (beam[kept] + np.float32(0.5)).astype(np.intp)
        sample = (sample[kept] + np.float32(0.5)).astype(np.intp)
        cell = beam * geometry.sample_count + sample
        elevation = plane_mm[2, kept]
        plane = np.rint(elevation / paths.plane_offsets_mm[-1]).astype(np.intp)
        plane = np.clip(plane, -1, 1) + CENTRE_PLANE
        elevation = elevation / self._slice_sigma_mm[sample]
        amplitude = np.exp(np.float32(-0.5) * elevation * elevation)
        amplitude *= self._scale[sample]
        amplitude *= paths.backscatter.reshape(-1)[plane * paths.transmission.size + cell]
        # The echo's phase follows its path there and back: speckle moves with the tissue.
        per_mm = np.float32(4.0 * np.pi / self._beam.wavelength_mm)
        phase = found.phase_rad[kept] - per_mm * depth_mm
        echoes = amplitude * (np.cos(phase) + np.complex64(1j) * np.sin(phase))
        return sum_into_beams(cell, echoes, (geometry.beam_count, geometry.sample_count))

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
