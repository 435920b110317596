"""What stands in the way of using a bag, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from us_recon.imaging.assembler import DropReason
from us_recon.io import messages
from us_recon.io.bag.inspection import BagReport
from us_recon.io.bag.topics import TopicNames

MAXIMUM_GAPS = 3
"""Gaps that are listed one by one."""


class Severity(StrEnum):
    """How much a finding matters."""

    BLOCKER = "blocker"
    """No image can be used."""
    WARNING = "warning"
    """Some images cannot be used, or the recording is not what it seems."""


@dataclass(frozen=True)
class Finding:
    """Something a user should know, with what to do."""

    severity: Severity
    problem: str
    advice: str


_ADVICE = {
    DropReason.NO_GEOMETRY: "record the transient-local geometry topic, before the first image",
    DropReason.IMAGE_SIZE: "announce the geometry again whenever the image size changes",
    DropReason.IMAGE_FORMAT: "publish images as mono8, or as rgb8 or bgr8",
    DropReason.IMAGE_FRAME: "set --transducer-frame to the images' frame_id, or correct the driver",
    DropReason.IMAGE_STALE: "stamp each image with its own acquisition time",
    DropReason.POSE_MISSING: "record poses from before the first until after the last image, on "
    "one clock with the images, and the static calibration",
    DropReason.POSE_GAP: "look for lost tracking; raise --max-pose-gap-s if motion is slow",
    DropReason.POSE_TURN: "track at a higher rate, or raise --max-pose-turn-deg",
    DropReason.POSE_JUMP: "look for markers that are lost or mixed up; raise --max-pose-step-mm if "
    "the probe moves that fast",
    DropReason.OUTSIDE_BOX: "move or widen --box-mm, or leave it out",
    DropReason.POSE_INVALID: "let the tracker's driver publish no pose for a body it does not see",
    DropReason.POSE_FRAME: "give each frame one parent; look for two nodes that publish it",
    DropReason.LABEL_UNMATCHED: "stamp each label with the stamp of its image",
}


def findings(report: BagReport, topics: TopicNames) -> list[Finding]:
    """Return what a user of the bag should know, blockers first."""
    found = [
        *_missing_topics(report, topics),
        *_unusable_images(report),
        *_image_content(report),
        *_pauses(report),
    ]
    return sorted(found, key=lambda finding: finding.severity is not Severity.BLOCKER)


def _missing_topics(report: BagReport, topics: TopicNames) -> list[Finding]:
    found = []
    present = {topic.name for topic in report.topics if topic.count}
    if topics.image_topic not in present:
        other = [
            t.name for t in report.topics if t.type in (messages.IMAGE, messages.COMPRESSED_IMAGE)
        ]
        advice = f"give --image-topic {other[0]}" if other else "record the image topic"
        found.append(Finding(Severity.BLOCKER, f"no image on {topics.image_topic}", advice))
    if topics.geometry_topic not in present:
        other = [topic.name for topic in report.topics if topic.type == messages.PROBE_GEOMETRY]
        advice = (
            f"give --geometry-topic {other[0]}"
            if other
            else "record a us_recon/ProbeGeometry; it is transient local, so a recorder that "
            "starts later still gets it"
        )
        problem = f"no probe geometry on {topics.geometry_topic}"
        found.append(Finding(Severity.BLOCKER, problem, advice))
    moving = [transform for transform in report.transforms if not transform.static]
    if not moving:
        where = topics.pose_topic or topics.tf_topic
        advice = "record tf, or give --pose-topic for poses that come as PoseStamped"
        found.append(Finding(Severity.BLOCKER, f"no pose on {where}", advice))
    return found


def _unusable_images(report: BagReport) -> list[Finding]:
    assembler = report.assembler
    nothing = assembler.frames_assembled == 0
    said_already: set[DropReason] = set()
    if not any(topic.type == messages.PROBE_GEOMETRY for topic in report.topics):
        said_already.add(DropReason.NO_GEOMETRY)
    if all(transform.static for transform in report.transforms):
        said_already.add(DropReason.POSE_MISSING)
    return [
        Finding(
            Severity.BLOCKER
            if nothing and reason is not DropReason.LABEL_UNMATCHED
            else Severity.WARNING,
            f"{count} left out, {reason}: {assembler.details[reason]}",
            _ADVICE.get(reason, ""),
        )
        for reason, count in assembler.drops.most_common()
        if reason not in said_already
    ]


def _image_content(report: BagReport) -> list[Finding]:
    found = []
    if report.repeated_images:
        found.append(
            Finding(
                Severity.WARNING,
                f"{report.repeated_images} images repeat the pixels of the one before",
                "the frame grabber runs faster than the scanner, or the image was frozen; "
                "a repeated image is placed at a newer pose than it was taken at",
            )
        )
    if report.black_images:
        problem = f"{report.black_images} images are black"
        found.append(Finding(Severity.WARNING, problem, "check the scanner's output and contact"))
    if len(report.geometries) > 1:
        problem = f"the geometry changes {len(report.geometries) - 1} times"
        advice = "expected when depth or probe was changed; otherwise look for two publishers"
        found.append(Finding(Severity.WARNING, problem, advice))
    return found


def _pauses(report: BagReport) -> list[Finding]:
    found = []
    streams = [("images", report.images)] if report.images else []
    streams += [
        (f"{transform.parent} -> {transform.child}", transform.timing)
        for transform in report.transforms
        if not transform.static
    ]
    for name, timing in streams:
        if timing is None or not timing.gaps:
            continue
        listed = ", ".join(
            f"{gap.length_s:.3f} s at {gap.start_s:.2f} s" for gap in timing.gaps[:MAXIMUM_GAPS]
        )
        more = len(timing.gaps) - MAXIMUM_GAPS
        rest = f" and {more} more" if more > 0 else ""
        found.append(
            Finding(
                Severity.WARNING,
                f"{len(timing.gaps)} gaps in {name}: {listed}{rest}",
                "expected where acquisition was paused; otherwise the recorder lost messages",
            )
        )
    return found
