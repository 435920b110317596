"""Look through a bag: what is in it, and what would keep a node from using it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.imaging.events import (
    AcquisitionEvent,
    GeometryEvent,
    ImageEvent,
    LabelEvent,
    PoseEvent,
)
from us_recon.imaging.probe import ProbeGeometry
from us_recon.io.bag.reader import BagReader, RejectedMessage
from us_recon.io.bag.topics import DEFAULT_TOPICS, TopicNames

NS_PER_S = 1_000_000_000
GAP_FACTOR = 3.0
"""A pause longer than this many median periods is a gap."""


@dataclass(frozen=True)
class Gap:
    """A pause in a stream."""

    start_s: float
    length_s: float


@dataclass(frozen=True)
class Timing:
    """The pace of a stream, by the stamps in its messages.

    Attributes:
        count: Messages.
        rate_hz: One over the median period; 0 with fewer than two messages.
        backwards: Messages whose stamp is not newer than the one before.
        gaps: Pauses, the longest first; times count from the first message of the bag.
    """

    count: int
    rate_hz: float
    backwards: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class TopicReport:
    """A topic of the bag."""

    name: str
    type: str
    count: int
    log_rate_hz: float


@dataclass(frozen=True)
class TransformReport:
    """One edge of the tree of frames."""

    parent: str
    child: str
    static: bool
    timing: Timing


@dataclass(frozen=True)
class BagReport:
    """What is in a bag.

    Attributes:
        path: The bag.
        start_s: Log time of the first message.
        duration_s: Log time from the first to the last message.
        topics: Every topic.
        images: Pace of the images, None where there is none.
        image_sizes: Columns x rows and how many images have it.
        repeated_images: Images whose pixels equal those of the one before.
        black_images: Images without a pixel above zero.
        labels: Labels.
        transforms: The frames and how they are connected.
        geometries: Every geometry that was announced, in order, without repetitions.
        assembler: Counts of frames and of images left out, with the reasons.
    """

    path: Path
    start_s: float
    duration_s: float
    topics: tuple[TopicReport, ...]
    images: Timing | None
    image_sizes: dict[str, int]
    repeated_images: int
    black_images: int
    labels: int
    transforms: tuple[TransformReport, ...]
    geometries: tuple[ProbeGeometry, ...]
    assembler: FrameAssembler


def inspect_bag(
    path: Path,
    settings: AssemblerSettings | None = None,
    topics: TopicNames = DEFAULT_TOPICS,
) -> BagReport:
    """Read a whole bag once and report on it.

    Args:
        path: Folder of the bag.
        settings: How images find their poses; the frames are assembled as in a node.
        topics: Names of the topics.

    Raises:
        InputError: The bag is missing, broken or empty, or a topic has an unexpected type.
    """
    assembler = FrameAssembler(settings)
    seen = _Seen()
    with BagReader(path, topics) as bag:
        log_times = _log_times(bag)
        for event in bag.events():
            if isinstance(event, RejectedMessage):
                event.count_in(assembler)
            else:
                seen.take(event)
                assembler.push(event)
        assembler.finish()
        types = {connection.topic: connection.msgtype for connection in bag.connections}
    first_ns = min(times[0] for times in log_times.values())
    last_ns = max(times[-1] for times in log_times.values())
    return BagReport(
        path=path,
        start_s=first_ns / NS_PER_S,
        duration_s=(last_ns - first_ns) / NS_PER_S,
        topics=tuple(
            TopicReport(
                name, types[name], len(log_times.get(name, ())), _rate_hz(log_times.get(name, ()))
            )
            for name in sorted(types)
        ),
        images=timing(seen.image_stamps_ns, first_ns) if seen.image_stamps_ns else None,
        image_sizes=dict(seen.sizes),
        repeated_images=seen.repeated,
        black_images=seen.black,
        labels=seen.labels,
        transforms=tuple(
            TransformReport(parent, child, static, timing(stamps, first_ns))
            for (parent, child, static), stamps in sorted(seen.transforms.items())
        ),
        geometries=tuple(seen.geometries),
        assembler=assembler,
    )


def timing(stamps_ns: list[int], origin_ns: int) -> Timing:
    """Return the pace of a stream from its stamps, in order of arrival."""
    periods_ns = np.diff(stamps_ns)
    rising = periods_ns[periods_ns > 0]
    limit_ns = GAP_FACTOR * float(np.median(rising)) if rising.size else np.inf
    gaps = [
        Gap((stamps_ns[number] - origin_ns) / NS_PER_S, float(periods_ns[number]) / NS_PER_S)
        for number in np.flatnonzero(periods_ns > limit_ns)
    ]
    return Timing(
        count=len(stamps_ns),
        rate_hz=_rate_hz(stamps_ns),
        backwards=int(np.sum(periods_ns <= 0)),
        gaps=tuple(sorted(gaps, key=lambda gap: -gap.length_s)),
    )


@dataclass
class _Seen:
    """What has passed by while a bag is read."""

    image_stamps_ns: list[int] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    black: int = 0
    labels: int = 0
    transforms: dict[tuple[str, str, bool], list[int]] = field(default_factory=dict)
    geometries: list[ProbeGeometry] = field(default_factory=list)
    _last_image: UInt8[np.ndarray, "rows columns"] | None = None

    def take(self, event: AcquisitionEvent) -> None:
        match event:
            case ImageEvent():
                self._take_image(event)
            case LabelEvent():
                self.labels += 1
            case PoseEvent():
                key = (event.parent, event.child, event.static)
                self.transforms.setdefault(key, []).append(event.stamp_ns)
            case GeometryEvent():
                if not self.geometries or self.geometries[-1] != event.geometry:
                    self.geometries.append(event.geometry)

    def _take_image(self, event: ImageEvent) -> None:
        self.image_stamps_ns.append(event.stamp_ns)
        rows, columns = event.image.shape
        self.sizes[f"{columns} x {rows}"] += 1
        if self._last_image is not None:
            self.repeated += np.array_equal(event.image, self._last_image)
        self.black += not event.image.any()
        self._last_image = event.image


def _log_times(bag: BagReader) -> dict[str, list[int]]:
    times: dict[str, list[int]] = {}
    for message in bag.raw_messages():
        times.setdefault(message.topic, []).append(message.log_ns)
    return times


def _rate_hz(stamps_ns: Iterable[int]) -> float:
    periods_ns = np.diff(np.array(list(stamps_ns), dtype=np.int64))
    median_ns = float(np.median(periods_ns)) if periods_ns.size else 0.0
    return NS_PER_S / median_ns if median_ns > 0 else 0.0
