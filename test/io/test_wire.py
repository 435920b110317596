"""Messages and core types: the only place where metres become millimetres."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from us_recon.errors import InputError
from us_recon.geometry.rigid import exp_se3
from us_recon.imaging.assembler import DropReason, FrameAssembler
from us_recon.imaging.events import PoseEvent
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io import messages, wire

STORE = messages.own_typestore()

twists = hnp.arrays(np.float64, 6, elements=st.floats(-3, 3))


@st.composite
def geometries(draw: st.DrawFn) -> ProbeGeometry:
    kind = draw(st.sampled_from(ProbeKind))
    length = st.floats(0.01, 300.0)
    sector = kind is not ProbeKind.LINEAR
    return ProbeGeometry(
        kind=kind,
        width_px=draw(st.integers(2, 4000)),
        height_px=draw(st.integers(2, 4000)),
        spacing_x_mm=draw(length),
        spacing_y_mm=draw(length),
        origin_x_px=draw(st.floats(-500, 4000)),
        origin_y_px=draw(st.floats(-500, 4000)),
        depth_mm=draw(length),
        width_mm=0.0 if sector else draw(length),
        radius_mm=draw(length) if kind is ProbeKind.CONVEX else 0.0,
        angle_min_deg=draw(st.floats(-89, -1)) if sector else 0.0,
        angle_max_deg=draw(st.floats(1, 89)) if sector else 0.0,
        beam_count=draw(st.integers(2, 1000)),
        sample_count=draw(st.integers(2, 5000)),
        skew_mm=draw(st.floats(-1, 1)),
        orientation=draw(st.sampled_from(["MF", "UF", "MN", "UN", "FM"])),
        centre_frequency_mhz=draw(st.floats(0, 30)),
    )


def sent(typename: str, fields: dict[str, Any]) -> Any:
    """Build a message, serialise it and read it back."""
    message = messages.make_message(STORE, typename, fields)
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, typename), typename)


@given(geometries())
@settings(max_examples=60, deadline=None)
def test_geometry_round_trip(geometry: ProbeGeometry) -> None:
    fields = wire.probe_geometry_to_fields(geometry, 1, "transducer")
    back = wire.probe_geometry_from_message(sent(messages.PROBE_GEOMETRY, fields))
    for name in ProbeGeometry.__dataclass_fields__:
        expected, found = getattr(geometry, name), getattr(back, name)
        if isinstance(expected, float):
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-12), name
        else:
            assert found == expected, name


def test_geometry_is_sent_in_si_units() -> None:
    geometry = ProbeGeometry.sector(
        ProbeKind.CONVEX, 60.0, 90.0, 120.0, 400, centre_frequency_mhz=3.5
    )
    fields = wire.probe_geometry_to_fields(geometry, 2_500_000_000, "transducer")
    assert fields["radius"] == pytest.approx(0.06) and fields["depth"] == pytest.approx(0.12)
    assert fields["angle_max"] == pytest.approx(np.pi / 4)
    assert fields["centre_frequency"] == pytest.approx(3.5e6)
    assert fields["header"] == {
        "stamp": {"sec": 2, "nanosec": 500_000_000},
        "frame_id": "transducer",
    }


def test_geometry_of_an_unknown_kind_or_version_is_refused() -> None:
    geometry = ProbeGeometry.linear(40.0, 30.0, 8, 6)
    fields = wire.probe_geometry_to_fields(geometry, 1, "transducer")
    message = messages.make_message(STORE, messages.PROBE_GEOMETRY, fields)
    message.kind = 7
    with pytest.raises(InputError, match="kind is 7; expected 1"):
        wire.probe_geometry_from_message(message)
    with pytest.raises(InputError, match="another version"):
        wire.probe_geometry_from_message(SimpleNamespace(kind=1))


@given(twists)
@settings(max_examples=60, deadline=None)
def test_transform_round_trip(twist: np.ndarray) -> None:
    T = exp_se3(twist * [100, 100, 100, 1, 1, 1])
    event = PoseEvent(123_456_789_012, T, parent="world", child="probe")
    fields = {"transforms": [wire.pose_to_transform_stamped_fields(event)]}
    (back,) = wire.poses_from_tf(sent(messages.TF, fields), static=False)
    np.testing.assert_allclose(back.T_parent_child, T, atol=1e-9)
    assert (back.stamp_ns, back.parent, back.child) == (123_456_789_012, "world", "probe")


@given(twists)
@settings(max_examples=30, deadline=None)
def test_pose_round_trip(twist: np.ndarray) -> None:
    T = exp_se3(twist)
    fields = {
        "header": wire.header_to_fields(5, "/world"),
        "pose": wire.matrix_mm_to_pose_fields(T),
    }
    back = wire.pose_from_pose_stamped(sent(messages.POSE, fields), child="probe")
    np.testing.assert_allclose(back.T_parent_child, T, atol=1e-9)
    assert back.parent == "world"


def test_one_metre_is_a_thousand_millimetres() -> None:
    T = np.eye(4)
    T[:3, 3] = [1000.0, -2.5, 0.0]
    fields = wire.matrix_mm_to_transform_fields(T)
    assert fields["translation"] == {"x": 1.0, "y": -0.0025, "z": 0.0}
    assert fields["rotation"] == {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}


def test_a_transform_nobody_filled_in_is_counted_and_not_the_identity() -> None:
    event = PoseEvent(1, np.eye(4))
    fields = {"transforms": [wire.pose_to_transform_stamped_fields(event)]}
    message = messages.make_message(STORE, messages.TF, fields)
    message.transforms[0].transform.rotation.w = 0.0
    (pose,) = wire.poses_from_tf(message, static=False)
    assert np.isnan(pose.T_parent_child).all()
    assembler = FrameAssembler()
    assembler.push(pose)
    assert assembler.drops == {DropReason.POSE_INVALID: 1}
    with pytest.raises(InputError, match="length 0"):
        wire.transform_to_matrix_mm(message.transforms[0].transform)


@pytest.mark.parametrize("stamp_ns", [-1, 2**31 * 1_000_000_000])
def test_times_that_no_message_holds_are_refused(stamp_ns: int) -> None:
    with pytest.raises(InputError, match="stamp_ns"):
        wire.stamp_to_fields(stamp_ns)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
@settings(max_examples=30, deadline=None)
def test_image_round_trip(image: np.ndarray) -> None:
    back = wire.image_from_message(sent(messages.IMAGE, wire.image_to_fields(image, 7, "t")))
    np.testing.assert_array_equal(back, image)


def image_message(
    encoding: str, data: bytes, width: int = 2, height: int = 2, step: int = 0
) -> Any:
    return SimpleNamespace(
        width=width, height=height, encoding=encoding, data=data, step=step or len(data) // height
    )


def test_padded_rows_are_cut() -> None:
    # Two rows of two pixels and two bytes of padding each.
    image = wire.image_from_message(image_message("mono8", bytes([1, 2, 9, 9, 3, 4, 9, 9])))
    np.testing.assert_array_equal(image, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("encoding", "pixel"),
    [("rgb8", [200, 100, 50]), ("bgr8", [50, 100, 200]), ("rgba8", [200, 100, 50, 0])],
)
def test_colour_becomes_grey(encoding: str, pixel: list[int]) -> None:
    # ITU-R BT.601: 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    image = wire.image_from_message(image_message(encoding, bytes(pixel * 4)))
    assert image.tolist() == [[124, 124], [124, 124]]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (image_message("mono16", bytes(8)), "encoding is 'mono16'"),
        (image_message("mono8", bytes(4), height=3, step=2), "expected a step of 2 or more and 3"),
        (image_message("rgb8", bytes(8)), "expected a step of 6"),
        (image_message("mono8", b"", width=0, height=0, step=1), "image of 0 x 0"),
    ],
)
def test_images_that_cannot_be_read_are_named(message: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        wire.image_from_message(message)


def test_compressed_images() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = cv2.imencode(".png", image)[1].tobytes()
    decoded = wire.image_from_compressed_message(SimpleNamespace(format="png", data=data))
    np.testing.assert_array_equal(decoded, image)
    for broken in (b"", b"no image"):
        with pytest.raises(InputError, match="cannot be decoded"):
            wire.image_from_compressed_message(SimpleNamespace(format="png", data=broken))
