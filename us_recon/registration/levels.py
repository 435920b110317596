"""The levels of a search: the same images and MRI, compared with growing care."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from us_recon.geometry.rigid import transform_points
from us_recon.registration.channels import MriChannels
from us_recon.registration.objective import Objective, make_objective
from us_recon.registration.observation import BeamWindow
from us_recon.registration.settings import RegistrationSettings


@dataclass(frozen=True, eq=False)
class Levels:
    """One window and one MRI, to be compared with growing care.

    Attributes:
        coarse: Few large, blurred patches.
        thin: Some of the finest patches, which do not overlap.
        apart: All of the finest patches that do not overlap.
        fine: All of the finest patches, overlapping.
        last: The same by all channels; the levels before know LC2's alone.
        corners_world_mm: Corners of the images, to tell poses apart.
    """

    coarse: Objective
    thin: Objective
    apart: Objective
    fine: Objective
    last: Objective
    corners_world_mm: Float64[np.ndarray, "n 3"]

    def apart_mm(self, T: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]) -> float:
        """Return the mean distance between where two poses place the corners of the images."""
        corners = self.corners_world_mm
        moved = transform_points(T, corners) - transform_points(other, corners)
        return float(np.linalg.norm(moved, axis=1).mean())


def make_levels(
    window: BeamWindow,
    coarse_window: BeamWindow,
    channels: MriChannels,
    coarse_channels: MriChannels,
    settings: RegistrationSettings,
) -> Levels:
    """Prepare all levels; window and channels come with the settings, or with their coarse ones."""
    lc2 = channels.lc2
    last = make_objective(window, channels, settings)
    corners = window.points_world_mm[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
    return Levels(
        coarse=make_objective(
            coarse_window, coarse_channels, settings.coarse(), settings.coarse_patches
        ),
        thin=make_objective(window, lc2, settings, settings.candidate_patches),
        apart=make_objective(window, lc2, settings.without_overlap()),
        fine=last if lc2 is channels else replace(last, channels=lc2),
        last=last,
        corners_world_mm=corners.double().numpy(),
    )


def mirrored(window: BeamWindow) -> BeamWindow:
    """Return the window with the beams of every image in reverse order."""
    return replace(window, values=window.values.flip(1), valid=window.valid.flip(1))
