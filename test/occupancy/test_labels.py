"""The surface of a label mask."""

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.labels import label_surface
from us_recon.occupancy.surface import SurfaceSource

# 10 columns of 1 mm and 20 rows of 1 mm: row r has its centre at r + 0.5 mm.
GEOMETRY = ProbeGeometry.linear(10.0, 20.0, 10, 20, beam_count=10, sample_count=201)


def test_boundary_lies_between_the_pixels() -> None:
    label = np.zeros((20, 10), np.uint8)
    label[7:] = 1
    # Row 6 (centre 6.5 mm) is outside and row 7 (7.5 mm) inside: the boundary is at 7.0 mm.
    surface = label_surface(label, GEOMETRY)
    np.testing.assert_allclose(surface.depth_mm, 7.0, atol=1e-4)
    assert surface.source is SurfaceSource.LABEL
    assert surface.found.all()
    np.testing.assert_array_equal(surface.confidence, 1.0)


def test_label_values_and_what_lies_behind_do_not_matter() -> None:
    label = np.zeros((20, 10), np.uint8)
    label[7:9] = 3
    label[15:] = 200
    np.testing.assert_allclose(label_surface(label, GEOMETRY).depth_mm, 7.0, atol=1e-4)


def test_beams_without_label_show_nothing() -> None:
    label = np.zeros((20, 10), np.uint8)
    label[7:, 4:] = 1
    surface = label_surface(label, GEOMETRY)
    assert surface.found.tolist() == [False] * 4 + [True] * 6
    assert not label_surface(np.zeros((20, 10), np.uint8), GEOMETRY).found.any()


def test_target_that_begins_at_the_face_has_no_surface() -> None:
    # The first sample lies between the face and the first pixel's centre, outside the image by
    # half a pixel: label the whole image and no boundary is inside it.
    surface = label_surface(np.ones((20, 10), np.uint8), GEOMETRY)
    assert not surface.found.any()


def test_convex_depth_is_along_the_beam() -> None:
    geometry = ProbeGeometry.sector(
        ProbeKind.CONVEX, 40.0, 60.0, 60.0, 800, beam_count=31, sample_count=601
    )
    points = geometry.pixels_to_mm(geometry.pixel_grid)
    reach_mm = np.linalg.norm(points - geometry.apex_mm, axis=-1) - 40.0
    surface = label_surface((reach_mm > 25.0).astype(np.uint8), geometry)
    # Pixels are 0.125 mm: the boundary is within half a pixel's diagonal of 25 mm on every beam.
    np.testing.assert_allclose(surface.depth_mm[1:-1], 25.0, atol=0.1)


def test_wrong_size_is_refused() -> None:
    with pytest.raises(InputError, match="label is"):
        label_surface(np.zeros((5, 5), np.uint8), GEOMETRY)
