from pathlib import Path

import numpy as np
import pytest

from us_recon.imaging.events import ImageEvent, LabelEvent, PoseEvent
from us_recon.simulation.arrays import record_arrays, write_arrays
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings


@pytest.fixture(scope="module")
def cell() -> ScanningCell:
    sweep = SweepSettings(length_mm=6.0, speed_mm_s=6.0)
    settings = CellSettings(image_rate_hz=4.0, grid_mm=3.0, label_every=2)
    return make_cell("spine", "convex", 4, sweep, settings=settings)


def test_arrays_hold_what_the_events_hold(cell: ScanningCell) -> None:
    arrays, events = record_arrays(cell), list(cell.events())
    images = [event for event in events if isinstance(event, ImageEvent)]
    labels = [event for event in events if isinstance(event, LabelEvent)]
    poses = [event for event in events if isinstance(event, PoseEvent) and not event.static]
    np.testing.assert_array_equal(arrays.images, np.stack([event.image for event in images]))
    np.testing.assert_array_equal(arrays.labels, np.stack([event.label for event in labels]))
    stamps = arrays.image_stamps_ns[arrays.label_images].tolist()
    assert stamps == [event.stamp_ns for event in labels]
    np.testing.assert_array_equal(
        arrays.T_world_probe, np.stack([event.T_parent_child for event in poses])
    )
    assert arrays.pose_stamps_ns.tolist() == [event.stamp_ns for event in poses]


def test_the_archive_is_read_without_this_package(cell: ScanningCell, tmp_path: Path) -> None:
    counts = write_arrays(cell, tmp_path / "scan.npz")
    with np.load(tmp_path / "scan.npz", allow_pickle=False) as archive:
        # 6 mm at 6 mm/s and 4 images per second: 0, 0.25 ... 1 s.
        assert archive["images"].shape == (5, *cell.geometry.shape)
        assert counts["images"] == 5 and counts["labels"] == 3
        assert str(archive["geometry_kind"]) == "convex"
        assert float(archive["geometry_radius_mm"]) == cell.geometry.radius_mm
        np.testing.assert_array_equal(archive["T_world_mri"], cell.T_world_mri)
