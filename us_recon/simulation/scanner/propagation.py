"""What lies along the beams: attenuation, transmission, and where surfaces are met.

Fields vary slowly beside the sampling of the echo signal, so they are looked up on a coarser grid
of the same sector, in three planes across the slice, and interpolated.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int
from numpy.typing import NDArray

from us_recon.compiled import compiled
from us_recon.simulation.scanner.beam import Beam, BeamSettings
from us_recon.simulation.scanner.compression import Compression
from us_recon.simulation.scanner.contact import ContactSettings, FaceContact
from us_recon.simulation.scene import (
    ATTENUATION,
    BACKSCATTER,
    LEVEL_SETS,
    Interface,
    SceneGrid,
)

BEAM_STRIDE = 2
SAMPLE_STRIDE = 4
IN_FRONT_SAMPLES = 2 * SAMPLE_STRIDE  # before a surface's own loss, which the grid blurs
PLANES_SIGMA = (-1.0, 0.0, 1.0)  # positions across the slice in standard deviations
CENTRE_PLANE = 1
LEAST_TRANSMISSION = 1e-6


Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FirstBlock:
    """The first blocking surface of each beam.

    Attributes:
        depth_mm: Its depth, inf where there is none.
        interface: Its number, -1 where there is none.
        echo: Its echo, reflectivity times transmission, 0 where there is none.
        transmission: Two-way amplitude left in front of it.
    """

    depth_mm: Float32[np.ndarray, " beams"]
    interface: Int[np.ndarray, " beams"]
    echo: Float32[np.ndarray, " beams"]
    transmission: Float32[np.ndarray, " beams"]


@dataclass(frozen=True, eq=False)
class Propagation:
    """The fields along the beams of one pose.

    Attributes:
        T_scene_transducer: The pose.
        backscatter: Speckle amplitude per plane at every sample.
        level_sets_mm: Per interface and plane, on the coarse grid.
        plane_offsets_mm: Elevation of each plane.
        plane_weights: Share of each plane in the echo; they sum to 1.
        transmission: Two-way amplitude left at each sample, 1 at a face in full contact.
        contact: Part of the aperture in contact, per beam and coarse depth.
        block: First blocking surface of each beam.
    """

    T_scene_transducer: Float64[np.ndarray, "4 4"]
    backscatter: Float32[np.ndarray, "planes beams samples"]
    level_sets_mm: Float32[np.ndarray, "interfaces planes coarse_beams coarse_samples"]
    plane_offsets_mm: Float32[np.ndarray, " planes"]
    plane_weights: Float32[np.ndarray, " planes"]
    transmission: Float32[np.ndarray, "beams samples"]
    contact: Float32[np.ndarray, "beams coarse_samples"]
    block: FirstBlock


class SliceSampler:
    """Sample a scene along all beams of a probe.

    Args:
        beam: Probe and point spread function.
        compression: Deformation of the tissue.
        contact: What couples the face to the patient.
    """

    def __init__(self, beam: Beam, compression: Compression, contact: ContactSettings) -> None:
        geometry = beam.geometry
        self.beam = beam
        self.coarse_shape = (
            max(2, geometry.beam_count // BEAM_STRIDE),
            max(2, geometry.sample_count // SAMPLE_STRIDE),
        )
        mean_sigma_mm = float(beam.slice_sigma_mm(np.array([geometry.depth_mm / 2.0]))[0])
        self.plane_offsets_mm = (np.array(PLANES_SIGMA) * mean_sigma_mm).astype(np.float32)
        weights = np.exp(-0.5 * np.array(PLANES_SIGMA) ** 2)
        self.plane_weights = (weights / weights.sum()).astype(np.float32)
        in_plane = resize(geometry.beam_points_mm.astype(np.float32), self.coarse_shape)
        points_mm = np.concatenate(
            [
                np.concatenate([in_plane, np.full_like(in_plane[..., :1], offset)], axis=-1)
                for offset in self.plane_offsets_mm
            ]
        ).reshape(-1, 3)
        self._tissue_mm = compression.tissue_mm(points_mm)
        shape = (geometry.beam_count, self.coarse_shape[1])
        self._contact = FaceContact(beam, contact, compression, shape)
        self._step_mm = geometry.depth_mm / self.coarse_shape[1]

    def sample(
        self, scene: SceneGrid, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> Propagation:
        """Look up the scene at a pose and follow the beams through it."""
        rotation = T_scene_transducer[:3, :3].astype(np.float32)
        points = self._tissue_mm @ rotation.T + T_scene_transducer[:3, 3].astype(np.float32)
        fields = scene.fields_at(points).reshape(-1, len(PLANES_SIGMA), *self.coarse_shape)
        level_sets = fields[LEVEL_SETS:]
        contact = self._contact.of_beams(self._contact.of_elements(scene, T_scene_transducer))
        transmission = self._transmission(fields[ATTENUATION], level_sets, scene.interfaces)
        if contact.min() < 1.0:
            # The aperture transmits and receives: what it lacks is lost twice.
            transmission *= resize(contact * contact, transmission.shape)
        return Propagation(
            T_scene_transducer=T_scene_transducer,
            backscatter=self._on_full_grid(fields[BACKSCATTER]),
            level_sets_mm=level_sets,
            plane_offsets_mm=self.plane_offsets_mm,
            plane_weights=self.plane_weights,
            transmission=transmission,
            contact=contact,
            block=self._first_block(level_sets, scene.interfaces, transmission),
        )

    def _on_full_grid(
        self, planes: Float32[np.ndarray, "planes cb cs"]
    ) -> Float32[np.ndarray, "planes beams samples"]:
        geometry = self.beam.geometry
        shape = (geometry.beam_count, geometry.sample_count)
        return np.stack([resize(plane, shape) for plane in planes])

    def _transmission(
        self,
        attenuation_db_cm: Float32[np.ndarray, "planes cb cs"],
        level_sets: Float32[np.ndarray, "interfaces planes cb cs"],
        interfaces: tuple[Interface, ...],
    ) -> Float32[np.ndarray, "beams samples"]:
        step_db = 2.0 * attenuation_db_cm * np.float32(self._step_mm / 10.0)
        for interface, level_set in zip(interfaces, level_sets, strict=True):
            if not interface.blocks or level_set.min() > 0:
                continue
            crossed = np.signbit(level_set[..., 1:]) != np.signbit(level_set[..., :-1])
            # There and back the pressure transmission is 1 - R^2 (Szabo, chapter 3).
            once_db = -20.0 * np.log10(max(1.0 - interface.reflectivity**2, LEAST_TRANSMISSION))
            step_db[..., 1:] += crossed * np.float32(once_db)
        kept = np.power(np.float32(10.0), step_db * np.float32(-0.05))
        mean = np.tensordot(self.plane_weights, _march(kept, self.beam.settings), axes=1)
        mean_db = np.log10(np.maximum(mean, 1e-9))
        geometry = self.beam.geometry
        full = resize(mean_db, (geometry.beam_count, geometry.sample_count))
        return np.power(np.float32(10.0), full)

    def _first_block(
        self,
        level_sets: Float32[np.ndarray, "interfaces planes cb cs"],
        interfaces: tuple[Interface, ...],
        transmission: Float32[np.ndarray, "beams samples"],
    ) -> FirstBlock:
        geometry = self.beam.geometry
        depth_mm = np.full(geometry.beam_count, np.inf, dtype=np.float32)
        number = np.full(geometry.beam_count, -1)
        echo = np.zeros(geometry.beam_count, dtype=np.float32)
        kept = np.zeros(geometry.beam_count, dtype=np.float32)
        for this, (interface, level_set) in enumerate(zip(interfaces, level_sets, strict=True)):
            centre = level_set[CENTRE_PLANE]
            if not interface.blocks or centre.min() > 0:
                continue
            full = resize(centre, (geometry.beam_count, geometry.sample_count))
            cosine = resize(incidence_cosine(level_set, self.beam), full.shape)
            behind = full < 0
            hit = np.argmax(behind, axis=1)
            beams = np.arange(geometry.beam_count)
            nearer = behind.any(axis=1) & (hit * geometry.sample_step_mm < depth_mm)
            depth_mm[nearer] = _refine(full, beams[nearer], hit[nearer]) * geometry.sample_step_mm
            reflected = interface.reflectivity * cosine[beams, hit] ** interface.exponent
            in_front = transmission[beams, np.maximum(hit - IN_FRONT_SAMPLES, 0)]
            echo[nearer] = (reflected * in_front)[nearer]
            kept[nearer] = in_front[nearer]
            number[nearer] = this
        return FirstBlock(depth_mm, number, echo, kept)


def _march(
    kept: Float32[np.ndarray, "planes cb cs"], settings: BeamSettings
) -> Float32[np.ndarray, "planes cb cs"]:
    """Return the amplitude that reaches each sample, given the share each step keeps.

    Neighbouring beams share aperture, so a shadow fills from its sides while it goes deeper.
    """
    amplitude = np.empty_like(kept)
    for plane in range(len(kept)):
        _march_plane(kept[plane], np.float32(settings.shadow_spread), amplitude[plane])
    return amplitude


@compiled
def _march_plane(kept: Array, spread: np.float32, amplitude: Array) -> None:
    beams, samples = kept.shape
    front = np.ones(beams, dtype=np.float32)
    for sample in range(samples):
        for beam in range(beams):
            half = np.sqrt(kept[beam, sample])
            amplitude[beam, sample] = front[beam] * half
            front[beam] = amplitude[beam, sample] * half
        before = front[0]  # of the beam to the left, as it was before sharing
        for beam in range(beams - 1):
            step = (front[beam + 1] - before) * spread
            before = front[beam + 1]
            front[beam] += step
            front[beam + 1] -= step


def incidence_cosine(
    level_set_mm: Float32[np.ndarray, "planes cb cs"], beam: Beam
) -> Float32[np.ndarray, "cb cs"]:
    """Return the cosine between beam and surface normal from the level set's gradient."""
    geometry = beam.geometry
    centre = level_set_mm[CENTRE_PLANE]
    coarse_beams, coarse_samples = centre.shape
    along = np.gradient(centre, geometry.depth_mm / coarse_samples, axis=1)
    depth_mm = (np.arange(coarse_samples) + 0.5) * geometry.depth_mm / coarse_samples
    pitch_mm = beam.beam_pitch_mm(depth_mm) * geometry.beam_count / coarse_beams
    across = np.gradient(centre, axis=0) / pitch_mm
    offset_mm = PLANES_SIGMA[-1] * float(beam.slice_sigma_mm(np.array([geometry.depth_mm / 2]))[0])
    sideways = (level_set_mm[-1] - level_set_mm[0]) / (2.0 * offset_mm)
    length = np.sqrt(along**2 + across**2 + sideways**2)
    return (np.abs(along) / np.maximum(length, 1e-6)).astype(np.float32)


def resize(array: Float32[np.ndarray, "..."], shape: tuple[int, int]) -> Float32[np.ndarray, "..."]:
    """Resample the two leading axes bilinearly, cell centres on cell centres."""
    resized = cv2.resize(array, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _refine(
    level_set: Float32[np.ndarray, "beams samples"],
    beams: np.ndarray,
    hit: np.ndarray,
) -> Float32[np.ndarray, " n"]:
    """Return the fractional sample of the zero crossing before sample `hit`."""
    before = np.maximum(hit - 1, 0)
    front, behind = level_set[beams, before], level_set[beams, hit]
    fraction = np.where(front > 0, front / np.maximum(front - behind, 1e-9), 0.0)
    return (before + fraction * (hit - before)).astype(np.float32)
