"""Which part of the array face touches the patient, and what beams lose where it does not.

Gel bridges a small gap; beyond it the elements face air, which returns everything. A beam is formed
by the elements of its active aperture, so the edge of the contact is soft and moves with depth.
That a smaller aperture also focuses less well is neglected.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from us_recon.geometry.rigid import transform_points
from us_recon.imaging.probe import ProbeKind
from us_recon.settings import setting
from us_recon.simulation.scanner.beam import Beam
from us_recon.simulation.scanner.compression import Compression
from us_recon.simulation.scene import SceneGrid

ELEMENTS = 256
LEAST_APERTURE_MM = 2.0  # a few elements fire even for the shallowest depth
MENISCUS_MM = 0.5  # gap over which the coupling of gel ends


@dataclass(frozen=True)
class ContactSettings:
    """What couples the probe to the patient."""

    coupling_mm: float = setting(
        3.0, "Widest gap that gel bridges; beyond it is air.", unit="mm", minimum=0.0
    )


class FaceContact:
    """The contact of one array's elements, and what of each beam's aperture they make.

    Args:
        beam: Probe and its active aperture.
        settings: Coupling.
        compression: Deformation, which moves the skin as well.
        shape: Beams and depths to return the contact for.
    """

    def __init__(
        self,
        beam: Beam,
        settings: ContactSettings,
        compression: Compression,
        shape: tuple[int, int],
    ) -> None:
        self._settings = settings
        edges_mm, elements_mm, centres_mm = _face(beam)
        beams = np.linspace(0, len(centres_mm) - 1, shape[0])
        centres_mm = np.interp(beams, np.arange(len(centres_mm)), centres_mm)[:, None]
        depth_mm = (np.arange(shape[1]) + 0.5) * beam.geometry.depth_mm / shape[1]
        half_mm = np.maximum(beam.active_aperture_mm(depth_mm), LEAST_APERTURE_MM) / 2.0
        to_edge = ELEMENTS / (edges_mm[-1] - edges_mm[0])
        self._first = np.clip((centres_mm - half_mm - edges_mm[0]) * to_edge, 0.0, ELEMENTS)
        self._last = np.clip((centres_mm + half_mm - edges_mm[0]) * to_edge, 0.0, ELEMENTS)
        self._elements_mm = compression.tissue_mm(elements_mm)

    def of_elements(
        self, scene: SceneGrid, T_scene_transducer: Float64[np.ndarray, "4 4"]
    ) -> Float32[np.ndarray, " elements"]:
        """Return the contact of each element, 0 in the air and 1 on skin or gel."""
        points = transform_points(T_scene_transducer, self._elements_mm)
        gap_mm = scene.contact_distance_mm(points.astype(np.float32))
        coupled = 0.5 + (np.float32(self._settings.coupling_mm) - gap_mm) / np.float32(MENISCUS_MM)
        return np.clip(coupled, 0.0, 1.0)

    def of_beams(
        self, elements: Float32[np.ndarray, " elements"]
    ) -> Float32[np.ndarray, "beams depths"]:
        """Return the part of the active aperture that is in contact, at each depth."""
        if elements.min() == 1.0:
            return np.ones(self._first.shape, dtype=np.float32)
        until = np.concatenate([[0.0], np.cumsum(elements)])
        edges = np.arange(ELEMENTS + 1)
        summed = np.interp(self._last, edges, until) - np.interp(self._first, edges, until)
        return (summed / (self._last - self._first)).astype(np.float32)


def _face(
    beam: Beam,
) -> tuple[Float64[np.ndarray, " edges"], Float64[np.ndarray, "n 3"], Float64[np.ndarray, " b"]]:
    """Return edges of the elements along the face, their centres, and where beams leave it."""
    geometry = beam.geometry
    if geometry.kind == ProbeKind.CONVEX:
        first_deg, last_deg = geometry.angle_min_deg, geometry.angle_max_deg
        edges_mm = geometry.radius_mm * np.radians(np.linspace(first_deg, last_deg, ELEMENTS + 1))
        angle = (edges_mm[1:] + edges_mm[:-1]) / 2.0 / geometry.radius_mm
        x, y = np.sin(angle), np.cos(angle) - 1.0
        elements = geometry.radius_mm * np.column_stack([x, y, np.zeros_like(x)])
        return edges_mm, elements, geometry.radius_mm * geometry.beam_angles_rad
    half = beam.face_half_width_mm
    edges_mm = np.linspace(-half, half, ELEMENTS + 1)
    x = (edges_mm[1:] + edges_mm[:-1]) / 2.0
    elements = np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])
    return edges_mm, elements, geometry.beam_origins_mm[:, 0]
