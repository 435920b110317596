"""Assemble the tracked frames of a bag, offline, with the object that a live node uses."""

from collections.abc import Iterator
from pathlib import Path

from us_recon.errors import InputError
from us_recon.imaging.assembler import AssemblerSettings, FrameAssembler
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.bag.reader import BagReader, RejectedMessage
from us_recon.io.bag.topics import DEFAULT_TOPICS, TopicNames


def frames_from_bag(
    path: Path,
    settings: AssemblerSettings | None = None,
    topics: TopicNames = DEFAULT_TOPICS,
    assembler: FrameAssembler | None = None,
) -> Iterator[TrackedFrame]:
    """Yield the tracked frames of a bag, assembled as a live node would.

    Args:
        path: Folder of the bag.
        settings: How images find their poses; not with `assembler`.
        topics: Names of the topics.
        assembler: Give one to read its counts of dropped images afterwards.

    Raises:
        InputError: The bag cannot be read or has no topic of images.
    """
    assembler = assembler or FrameAssembler(settings)
    with BagReader(path, topics) as bag:
        if not bag.has_images:
            names = ", ".join(sorted({connection.topic for connection in bag.connections}))
            raise InputError(
                f"{path} has no topic {topics.image_topic!r} of images; it has {names}; "
                "give --image-topic"
            )
        for event in bag.events():
            if isinstance(event, RejectedMessage):
                event.count_in(assembler)
            else:
                yield from assembler.push(event)
        yield from assembler.finish()


def require_frames(bag: Path, assembler: FrameAssembler) -> None:
    """Raise InputError if none of a bag's images, now read, could be used; it says why."""
    if assembler.frames_assembled == 0:
        why = "; ".join(assembler.told_drops())
        raise InputError(
            f"{bag}: none of {assembler.images_received} images can be used; expected one at "
            f"least: nothing is written; {why or 'no image came'}; see `us-recon inspect {bag}`"
        )
