"""The messages hold what the package needs to send, and the built ones are up to date."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from us_recon.imaging.probe import ProbeGeometry, ProbeKind

ROOT = Path(__file__).parents[2]
MESSAGES = sorted(file.stem for file in (ROOT / "msg").glob("*.msg"))

MESSAGE_FIELD_OF = {
    "kind": "kind",
    "width_px": "image_width",
    "height_px": "image_height",
    "spacing_x_mm": "pixel_spacing_x",
    "spacing_y_mm": "pixel_spacing_y",
    "skew_mm": "pixel_skew",
    "origin_x_px": "origin_x",
    "origin_y_px": "origin_y",
    "depth_mm": "depth",
    "width_mm": "aperture_width",
    "radius_mm": "radius",
    "angle_min_deg": "angle_min",
    "angle_max_deg": "angle_max",
    "beam_count": "beam_count",
    "sample_count": "sample_count",
    "orientation": "orientation",
    "centre_frequency_mhz": "centre_frequency",
}


def declared(message: str) -> tuple[list[str], list[str]]:
    """Names of the fields and of the constants in a message's definition."""
    names: list[str] = []
    constants: list[str] = []
    for line in (ROOT / "msg" / f"{message}.msg").read_text().splitlines():
        match = re.match(r"[A-Za-z_/]\w*(?:/\w+)?(?:\[\])? +(\w+)( *=)?", line)
        if match:
            (constants if match[2] else names).append(match[1])
    return names, constants


def test_the_geometry_message_carries_every_field_of_the_geometry() -> None:
    assert {field.name for field in fields(ProbeGeometry)} == set(MESSAGE_FIELD_OF)
    names, _ = declared("ProbeGeometry")
    assert set(names) - set(MESSAGE_FIELD_OF.values()) == {"header", "speed_of_sound"}
    assert set(MESSAGE_FIELD_OF.values()) <= set(names)


def test_every_kind_of_probe_has_a_constant() -> None:
    _, constants = declared("ProbeGeometry")
    kinds = {f"KIND_{kind.value.upper()}" for kind in ProbeKind}
    assert set(constants) == kinds | {"KIND_UNKNOWN"}


@pytest.mark.parametrize("message", ["MappingStatus", "RegistrationStatus"])
def test_a_status_says_what_is_missing_and_counts_drops(message: str) -> None:
    names, constants = declared(message)
    assert {"header", "state", "message", "frames_received", "frames_used"} <= set(names)
    assert {"frames_dropped", "drop_reasons", "drop_counts", "backlog"} <= set(names)
    assert {"image_rate", "latency_median", "latency_max"} <= set(names)
    assert {"STATE_WAITING", "STATE_STALLED", "STATE_ERROR"} <= set(constants)


@pytest.mark.ros
@pytest.mark.parametrize("message", MESSAGES)
def test_the_built_message_has_the_fields_of_the_source(message: str) -> None:
    built = pytest.importorskip("us_recon.msg", reason="us_recon's messages are not built")
    message_type = getattr(built, message)
    names, constants = declared(message)
    assert list(message_type.get_fields_and_field_types()) == names
    assert all(hasattr(message_type, name) for name in constants)
