from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from us_recon.errors import InputError
from us_recon.imaging.probe import ProbeGeometry, ProbeKind

LINEAR = ProbeGeometry.linear(40.0, 60.0, 400, 600, beam_count=4, sample_count=7)
CONVEX = ProbeGeometry.sector(
    ProbeKind.CONVEX, 60.0, 60.0, 90.0, 301, beam_count=3, sample_count=10
)
PHASED = ProbeGeometry.sector(ProbeKind.PHASED, 0.0, 90.0, 100.0, 201)
SKEWED = replace(LINEAR, skew_mm=0.004, origin_x_px=12.5, origin_y_px=3.0)
ALL = [LINEAR, CONVEX, PHASED, SKEWED]

coordinates = st.tuples(st.floats(-500, 1500), st.floats(-500, 1500)).map(np.array)


def test_linear_pixels_are_centred_on_the_array() -> None:
    # 400 columns of 0.1 mm: pixel 0 reaches from -20.0 to -19.9, its centre lies at -19.95; the
    # first row reaches from 0.0 to 0.1 mm, its centre lies at 0.05.
    np.testing.assert_allclose(LINEAR.pixels_to_mm(np.array([0.0, 0.0])), [-19.95, 0.05])
    np.testing.assert_allclose(LINEAR.pixels_to_mm(np.array([399.0, 599.0])), [19.95, 59.95])


def test_linear_beams_stand_in_the_middle_of_equal_strips() -> None:
    # Four strips of 10 mm over 40 mm; seven samples over 60 mm are 10 mm apart.
    np.testing.assert_allclose(LINEAR.beam_origins_mm[:, 0], [-15, -5, 5, 15])
    np.testing.assert_allclose(LINEAR.beam_points_mm[1, 2], [-5.0, 20.0])


def test_convex_beams_leave_the_curved_face_at_right_angles() -> None:
    # Beams at -30, 0 and +30 degrees from an apex 60 mm above the face. The outer face point is
    # 60 sin 30 = 30 mm aside and 60 (1 - cos 30) = 8.038 mm above the face's centre.
    np.testing.assert_allclose(CONVEX.beam_origins_mm[0], [-30.0, -8.0385], atol=1e-4)
    np.testing.assert_allclose(CONVEX.beam_origins_mm[1], [0.0, 0.0], atol=1e-12)
    # 90 mm further along the +30 degree beam: x = 150 / 2, y = 150 cos 30 - 60 = 69.904.
    np.testing.assert_allclose(CONVEX.beam_points_mm[2, -1], [75.0, 69.9038], atol=1e-4)


def test_phased_beams_share_one_origin() -> None:
    assert np.abs(PHASED.beam_origins_mm).max() == 0.0


@pytest.mark.parametrize("geometry", ALL)
@given(pixel=coordinates)
def test_pixel_round_trip_and_matrix_agree(geometry: ProbeGeometry, pixel: np.ndarray) -> None:
    point = geometry.pixels_to_mm(pixel)
    np.testing.assert_allclose(geometry.mm_to_pixels(point), pixel, atol=1e-8)
    by_matrix = geometry.T_transducer_image @ np.array([pixel[0], pixel[1], 0.0, 1.0])
    np.testing.assert_allclose(by_matrix, [point[0], point[1], 0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("geometry", ALL)
def test_beam_round_trip(geometry: ProbeGeometry) -> None:
    index = geometry.mm_to_beams(geometry.beam_points_mm[:, 1:])
    beams, samples = np.meshgrid(
        np.arange(geometry.beam_count), np.arange(1, geometry.sample_count), indexing="ij"
    )
    np.testing.assert_allclose(index[..., 0], beams, atol=1e-6)
    np.testing.assert_allclose(index[..., 1], samples, atol=1e-6)


def test_fan_mask_holds_what_the_sector_holds() -> None:
    assert LINEAR.fan_mask.all()
    # Share of the sector in its image: area of the ring segment over that of the image.
    ring_mm2 = np.pi * (150.0**2 - 60.0**2) * 60.0 / 360.0
    image_mm2 = CONVEX.width_px * CONVEX.height_px * CONVEX.spacing_x_mm**2
    assert CONVEX.fan_mask.mean() == pytest.approx(ring_mm2 / image_mm2, rel=0.01)
    corner, centre = (0, 0), (CONVEX.height_px // 2, CONVEX.width_px // 2)
    assert not CONVEX.fan_mask[corner] and CONVEX.fan_mask[centre]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth_mm": 0.0}, "depth_mm is 0.0"),
        ({"depth_mm": float("nan")}, "depth_mm is nan"),
        ({"width_px": 1}, "width_px is 1"),
        ({"width_mm": 0.0}, "the aperture"),
        ({"orientation": "XY"}, "orientation code is 'XY'"),
        ({"kind": ProbeKind.CONVEX, "angle_min_deg": 30.0}, "-90 < min < max < 90"),
        ({"kind": ProbeKind.CONVEX, "angle_max_deg": 30.0}, "the face's radius"),
    ],
)
def test_impossible_geometry_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(LINEAR, **change)
