"""What the field takes over of a frame."""

import numpy as np
import pytest

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.occupancy.field.scanlines import LineGeometry, Scanlines, scanlines
from us_recon.occupancy.surface import BeamSurface, SurfaceSource

BEAMS = 192
PROBES = [
    ProbeGeometry.linear(40.0, 50.0, 200, 250, beam_count=BEAMS, sample_count=500),
    ProbeGeometry.sector(
        ProbeKind.CONVEX, 40.0, 60.0, 50.0, 250, beam_count=BEAMS, sample_count=500
    ),
    ProbeGeometry.sector(
        ProbeKind.PHASED, 0.0, 70.0, 50.0, 250, beam_count=BEAMS, sample_count=500
    ),
]


def on_a_plane(geometry: ProbeGeometry) -> np.ndarray:
    """Return how deep each beam meets the plane ``y = 30 + x / 2``."""
    normal = np.array([-0.5, 1.0])
    return (30.0 - geometry.beam_origins_mm @ normal) / (geometry.beam_directions @ normal)


def taken_over(
    geometry: ProbeGeometry, depth_mm: np.ndarray, image: np.ndarray | None = None
) -> Scanlines:
    """Return what the field takes over of an image, grey all over unless told, with a label."""
    surface = BeamSurface(
        geometry=geometry,
        depth_mm=depth_mm.astype(np.float32),
        confidence=np.ones(BEAMS, np.float32),
        contact=np.ones(BEAMS, bool),
        source=SurfaceSource.LABEL,
    )
    if image is None:
        image = np.full(geometry.shape, 90, np.uint8)
    frame = TrackedFrame(0, image, np.eye(4), geometry)
    return scanlines(frame, surface, LineGeometry.of(geometry), None)[0]


@pytest.mark.parametrize("geometry", PROBES, ids=lambda probe: probe.kind.value)
def test_a_surface_stays_where_it_is(geometry: ProbeGeometry) -> None:
    found = taken_over(geometry, on_a_plane(geometry)).depth_mm
    wanted = on_a_plane(LineGeometry.of(geometry).geometry)
    assert len(found) != BEAMS
    np.testing.assert_allclose(found, wanted, atol=0.01)


def test_nothing_is_put_between_two_surfaces_nor_where_one_ends() -> None:
    depth_mm = np.where(np.arange(BEAMS) < 101, 20.0, 30.0)
    depth_mm[149:] = np.nan
    found = taken_over(PROBES[1], depth_mm).depth_mm
    assert set(found[np.isfinite(found)].tolist()) == {20.0, 30.0}
    # Of 128 beams those up to 100.5 and 148.5 of 191: beam 67 lies at 100.8, beam 99 at 148.9.
    assert (found == 20.0).sum() == 67
    assert np.isfinite(found).sum() == 99


def dark_at_the_left(from_mm: float) -> np.ndarray:
    """Return an image of the linear probe whose left quarter is dark from some depth on."""
    geometry = PROBES[0]
    image = np.full(geometry.shape, 90, np.uint8)
    image[round(from_mm / geometry.spacing_y_mm) :, : geometry.width_px // 4] = 4
    return image


def test_bone_below_the_edge_of_the_array_is_not_taken_for_an_edge_that_lifts_off() -> None:
    depth_mm = np.full(BEAMS, np.nan)
    image = dark_at_the_left(from_mm=7.0)
    assert not taken_over(PROBES[0], depth_mm, image).contact[:32].any()
    depth_mm[: BEAMS // 4] = 7.0
    assert taken_over(PROBES[0], depth_mm, image).contact.all()


def test_a_surface_below_an_edge_that_lifts_off_does_not_couple_it() -> None:
    depth_mm = np.full(BEAMS, np.nan)
    depth_mm[: BEAMS // 4] = 18.0
    contact = taken_over(PROBES[0], depth_mm, dark_at_the_left(from_mm=0.0)).contact
    assert not contact[:32].any()
    assert contact[40:].all()


def test_beams_that_show_bone_beside_an_edge_that_lifts_off_carry_sound() -> None:
    geometry = PROBES[0]
    image = np.full(geometry.shape, 90, np.uint8)
    image[:, : geometry.width_px // 10] = 4
    depth_mm = np.full(BEAMS, np.nan)
    unlabelled = taken_over(geometry, depth_mm, image).contact
    depth_mm[BEAMS // 10 + 2 :] = 30.0
    labelled = taken_over(geometry, depth_mm, image).contact
    assert not labelled[:12].any()
    assert labelled.sum() > unlabelled.sum() > 100  # beside dark beams others are dim, or not
