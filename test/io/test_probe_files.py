"""Probes from JSON files and from bags."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.events import GeometryEvent, ImageEvent
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io.bag import write_bag
from us_recon.io.probe_files import read_probe

PROBE = ProbeGeometry.sector(ProbeKind.CONVEX, 34.0, 40.0, 45.0, 64, beam_count=32)


def test_a_probe_is_read_from_its_fields(tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_text(json.dumps(asdict(PROBE)))
    assert read_probe(tmp_path / "probe.json") == PROBE


def test_the_probe_of_a_bag(tmp_path: Path) -> None:
    image = ImageEvent(2, np.zeros(PROBE.shape, np.uint8))
    write_bag(tmp_path / "bag", iter([GeometryEvent(1, PROBE), image]))
    assert read_probe(tmp_path / "bag") == PROBE
    write_bag(tmp_path / "without", iter([image]))
    with pytest.raises(InputError, match="holds no probe geometry"):
        read_probe(tmp_path / "without")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3.0}, "a probe has no 'depth'; it has kind, .*depth_mm"),
        ({"kind": "round"}, "kind is 'round'; expected linear, convex, phased"),
        ({"width_px": 3.5}, "width_px is 3.5; expected int"),
        ({"depth_mm": "45"}, "depth_mm is '45'; expected float"),
        ({"depth_mm": -1}, "probe.json: probe geometry: depth_mm is -1.0; expected a length"),
        ({"radius_mm": None}, "radius_mm is None"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "probe.json").write_text(json.dumps({**asdict(PROBE), **change}))
    with pytest.raises(InputError, match=message):
        read_probe(tmp_path / "probe.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as the JSON"), ("[]", "holds list"), ("{}", "lacks kind, width_px")],
)
def test_a_file_that_is_no_probe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_probe(tmp_path / "probe.json")
