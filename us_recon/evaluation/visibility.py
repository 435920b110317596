"""Which part of a surface a sweep of the probe could see."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Float64

from us_recon.geometry.rigid import invert_rigid, transform_points
from us_recon.occupancy.mesh_queries import SurfaceQuery
from us_recon.occupancy.views import View

__all__ = ["MAX_INCIDENCE_DEG", "View", "visible_points"]

MAX_INCIDENCE_DEG = 80.0
"""Surfaces that are steeper against the beam return no echo that could be told from noise."""

_TOLERANCE_MM = 0.2  # a point must not hide behind its own triangle


def visible_points(
    surface: SurfaceQuery,
    points_mm: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    views: Iterable[View],
    *,
    half_thickness_mm: float = 2.0,
    max_incidence_deg: float = MAX_INCIDENCE_DEG,
    sound_passes: bool = False,
) -> Bool[np.ndarray, " n"]:
    """Tell which points of a surface at least one view could see.

    A view sees a point that lies within its slice and its field, turns towards it, and is the
    first that the beam meets. Of an organ that sound passes it sees all walls.

    Args:
        surface: The whole surface, which also occludes.
        points_mm: Points on it, in the world.
        normals: Outward unit normals there.
        views: The sweep.
        half_thickness_mm: How far off its plane a view still sees.
        max_incidence_deg: Angle between beam and normal beyond which no echo returns.
        sound_passes: Whether neither incidence nor what lies in front matters.
    """
    seen = np.zeros(len(points_mm), bool)
    for view in views:
        index = np.flatnonzero(~seen)
        T = invert_rigid(view.T_world_transducer)
        local = transform_points(T, points_mm[index].astype(np.float64))
        beam, sample = view.geometry.mm_to_beams(local[:, :2]).T
        in_field = (
            (np.abs(local[:, 2]) <= half_thickness_mm)
            & (beam >= -0.5)
            & (beam <= view.geometry.beam_count - 0.5)
            & (sample >= 0)
            & (sample <= view.geometry.sample_count - 1)
        )
        index, local = index[in_field], local[in_field]
        if sound_passes:
            seen[index] = True
            continue
        if len(index) == 0:
            continue
        origins, directions, reach_mm = _beams_to(view, local)
        facing = -np.sum(directions * normals[index], axis=1)
        first_mm = surface.first_hits_mm(origins, directions)
        first = first_mm >= reach_mm - _TOLERANCE_MM
        seen[index] = first & (facing > np.cos(np.radians(max_incidence_deg)))
    return seen


def _beams_to(
    view: View, local_mm: Float64[np.ndarray, "n 3"]
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n 3"], Float64[np.ndarray, " n"]]:
    """Return origin and direction in the world of the beam through each point, and its length.

    A point off the image plane is met by the beam of the plane shifted to it.
    """
    geometry = view.geometry
    sample = geometry.mm_to_beams(local_mm[:, :2])[:, 1]
    reach_mm = sample * geometry.sample_step_mm
    if geometry.radius_mm == 0 and np.all(geometry.beam_angles_rad == 0):
        directions = np.tile([0.0, 1.0], (len(local_mm), 1))
    else:
        from_apex = local_mm[:, :2] - geometry.apex_mm
        directions = from_apex / np.linalg.norm(from_apex, axis=1, keepdims=True)
    flat = np.column_stack([directions, np.zeros(len(directions))])
    rotation = view.T_world_transducer[:3, :3]
    origins = transform_points(view.T_world_transducer, local_mm - reach_mm[:, None] * flat)
    return origins, flat @ rotation.T, reach_mm
