"""Small recordings, made by hand, that the reader tests share."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.imaging.probe import ProbeGeometry

NS_PER_S = 1_000_000_000
PERIOD_NS = 100_000_000
START_NS = 100 * NS_PER_S


def image_number(number: int) -> UInt8[np.ndarray, "4 6"]:
    """Return a 4 x 6 image that no other number has."""
    return (np.arange(24, dtype=np.uint8) + np.uint8(30 * number % 200)).reshape(4, 6)


def sweep(count: int = 5, labels: bool = False, skip: Iterable[int] = ()) -> list[AcquisitionEvent]:
    """Return a sweep at 10 Hz along x, 1 mm a frame; `skip` leaves images and poses out."""
    calibration = np.array([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    events: list[AcquisitionEvent] = [
        PoseEvent(START_NS, calibration, parent="probe", child="transducer", static=True),
        GeometryEvent(START_NS, ProbeGeometry.linear(12.0, 8.0, 6, 4)),
    ]
    for number in range(count):
        if number in skip:
            continue
        stamp_ns = START_NS + number * PERIOD_NS
        T_world_probe = np.eye(4)
        T_world_probe[:3, 3] = [float(number), 2.0, -3.0]
        events.append(PoseEvent(stamp_ns, T_world_probe))
        if labels:
            events.append(LabelEvent(stamp_ns, (image_number(number) > 100).astype(np.uint8)))
        events.append(ImageEvent(stamp_ns, image_number(number)))
    return events


@pytest.fixture
def make_sweep() -> Callable[..., list[AcquisitionEvent]]:
    """Make `sweep` known to the tests, which import nothing of each other."""
    return sweep


TINY_PLUS_HEADER = """\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
DimSize = 3 2 4
ElementSpacing = 1 1 1
ElementType = MET_UCHAR
Offset = 0 0 0
TransformMatrix = 1 0 0 0 1 0 0 0 1
UltrasoundImageOrientation = {orientation}
UltrasoundImageType = BRIGHTNESS
{frames}ElementDataFile = LOCAL
"""

TINY_CONFIG = """\
<PlusConfiguration version="2.1">
  <CoordinateDefinitions>
    <Transform From="Image" To="Probe" Matrix="0 0.5 0 10  0.25 0 0 20  0 0 0.3 30  0 0 0 1" />
  </CoordinateDefinitions>
</PlusConfiguration>
"""


def plus_frame(number: int, status: str = "OK", image_status: str = "OK") -> str:
    """Header entries of one frame: the probe at x = number, the reference at y = 1."""
    name = f"Seq_Frame{number:04d}"
    return (
        f"{name}_ProbeToTrackerTransform = 1 0 0 {number} 0 1 0 0 0 0 1 0 0 0 0 1\n"
        f"{name}_ProbeToTrackerTransformStatus = {status}\n"
        f"{name}_ReferenceToTrackerTransform = 1 0 0 0 0 1 0 1 0 0 1 0 0 0 0 1\n"
        f"{name}_ReferenceToTrackerTransformStatus = OK\n"
        f"{name}_Timestamp = {10 + number}.25\n"
        f"{name}_ImageStatus = {image_status}\n"
    )


@pytest.fixture
def tiny_plus(tmp_path: Path) -> tuple[Path, Path]:
    """Four frames of 3 x 2 pixels; the tracker lost the probe in frame 1, frame 3 has no image."""
    frames = (
        plus_frame(0) + plus_frame(1, status="INVALID") + plus_frame(2)
        + plus_frame(3, image_status="INVALID")
    )  # fmt: skip
    header = TINY_PLUS_HEADER.format(orientation="MFA", frames=frames)
    sequence, config = tmp_path / "tiny.igs.mha", tmp_path / "tiny.xml"
    sequence.write_bytes(header.encode() + bytes(range(24)))
    config.write_text(TINY_CONFIG)
    return sequence, config
