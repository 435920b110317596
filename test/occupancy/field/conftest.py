"""Fields on a small virtual scan: a flat bone 20 mm deep under speckle."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.replay import Replay
from us_recon.occupancy.field.scanlines import LineGeometry, scanlines
from us_recon.occupancy.field.settings import FieldSettings
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.region import Shown, labelled_region

BONE_MM, HALF_WIDTH_MM = 20.0, 10.0


@pytest.fixture(scope="session")
def bone_sweep(linear: ProbeGeometry, bone_image: Callable[..., np.ndarray]) -> list[TrackedFrame]:
    """Twelve frames 1 mm apart of bone 20 mm deep in the middle 20 mm; every third labelled."""
    x = linear.pixels_to_mm(linear.pixel_grid)[0, :, 0]
    rows_mm = linear.pixels_to_mm(linear.pixel_grid)[..., 1]
    depth_mm = np.where(np.abs(x) < HALF_WIDTH_MM, BONE_MM, np.nan)
    behind_mm = rows_mm - depth_mm
    label = ((behind_mm >= 0) & (behind_mm <= 3)).astype(np.uint8)
    return [
        TrackedFrame(
            stamp_ns=k,
            image=bone_image(linear, depth_mm, seed=k),
            T_world_transducer=from_euler_xyz_deg(np.array([0.0, 0.0, k]), np.zeros(3)),
            geometry=linear,
            label=label if k % 3 == 0 else None,
        )
        for k in range(12)
    ]


@pytest.fixture
def started(
    bone_sweep: list[TrackedFrame],
) -> Callable[..., tuple[FieldFit, Replay]]:
    """Return a maker of fields that were shown some frames but took no step."""

    def make(frames: int = 4, **settings: object) -> tuple[FieldFit, Replay]:
        return _shown(bone_sweep[:frames], FieldSettings(**settings))  # type: ignore[arg-type]

    return make


def _shown(frames: list[TrackedFrame], settings: FieldSettings) -> tuple[FieldFit, Replay]:
    fit = FieldFit(settings)
    lines = LineGeometry.of(frames[0].geometry)
    replay, calibration = Replay(lines, 16, settings.sound_passes), None
    for frame in frames:
        shown: Shown | None = None
        if frame.label is not None and settings.sound_passes:
            shown = labelled_region(frame.label, frame.image, frame.geometry)
        elif frame.label is not None:
            shown = label_surface(frame.label, frame.geometry)
        prepared, calibration = scanlines(frame, shown, lines, calibration)
        replay.add(prepared, 1.5)
        for lattice in fit.lattices:
            lattice.cover(replay.newest_points_mm(1.0))
        fit.begin(replay)
    return fit, replay
