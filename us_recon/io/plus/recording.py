"""A PLUS sequence with its configuration, as an acquisition in the project's frames."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from us_recon.errors import InputError
from us_recon.geometry.rigid import is_rigid, nearest_rigid
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.plus.calibration import ImageCalibration, split_image_to_probe
from us_recon.io.plus.config import PlusConfig, ScanConversion, read_plus_config
from us_recon.io.plus.sequence import PlusFrame, PlusSequence, read_plus_sequence

Transforms = Mapping[tuple[str, str], Float64[np.ndarray, "4 4"]]


@dataclass(frozen=True, eq=False)
class PlusRecording:
    """Images of a sequence with the pose of the probe, where the tracker saw it.

    Attributes:
        frames: Frames of the sequence that have an image.
        poses: For each of them ``T_world_probe``, or None where it is not known.
        calibration: Where the image lies on the probe.
        world: PLUS's name of the frame that becomes ``world``.
        without_image: Frames of the file without a valid image.
    """

    frames: tuple[PlusFrame, ...]
    poses: tuple[Float64[np.ndarray, "4 4"] | None, ...]
    calibration: ImageCalibration
    world: str
    without_image: int

    @property
    def untracked(self) -> int:
        """Images whose pose is not known: the tracker reported a transform as invalid."""
        return sum(pose is None for pose in self.poses)

    def tracked_frames(self) -> Iterator[TrackedFrame]:
        """Yield the images that have a pose."""
        for frame, pose in zip(self.frames, self.poses, strict=True):
            if frame.image is not None and pose is not None:
                T = pose @ self.calibration.T_probe_transducer
                yield TrackedFrame(frame.stamp_ns, frame.image, T, self.calibration.geometry)

    def events(self, keep_untracked: bool = False) -> Iterator[AcquisitionEvent]:
        """Yield the acquisition in time order.

        Args:
            keep_untracked: Whether images without a pose are part of it. A receiver may then give
                them a pose between those of their neighbours; left out, they can get none.
        """
        start_ns = self.frames[0].stamp_ns
        T = self.calibration.T_probe_transducer
        yield PoseEvent(start_ns, T, parent="probe", child="transducer", static=True)
        yield GeometryEvent(start_ns, self.calibration.geometry)
        for frame, pose in zip(self.frames, self.poses, strict=True):
            if pose is not None:
                yield PoseEvent(frame.stamp_ns, pose)
            if frame.image is not None and (pose is not None or keep_untracked):
                yield ImageEvent(frame.stamp_ns, frame.image)


def read_plus_recording(
    sequence: Path | str,
    config: Path | str,
    *,
    world: str | None = None,
    image: str | None = None,
    probe: str = "Probe",
    whole_image: bool = False,
) -> PlusRecording:
    """Read a tracked sequence with its calibration.

    Args:
        sequence: Tracked sequence file.
        config: Device set configuration with the transform from `image` to `probe`.
        world: PLUS frame that becomes ``world``; by default Reference where the sequence has it,
            else Tracker.
        image: PLUS's name of the frame of the images' pixels; by default Image. It has to be given
            where the sequence knows several, as one of cropped images does.
        probe: PLUS's name of the probe's tracked body.
        whole_image: Whether to take the whole image as that of a linear array, whatever the
            configuration says of its layout.

    Raises:
        InputError: A file is damaged, the calibration or the frames are missing, or no image has
            a pose.
    """
    recorded, settings = read_plus_sequence(sequence), read_plus_config(config)
    frames = tuple(frame for frame in recorded.frames if frame.image is not None)
    if not frames:
        raise InputError(
            f"{recorded.path} has {len(recorded.frames)} frames and no valid image among them; "
            "give the sequence that holds the images"
        )
    world = world or _default_world(recorded)
    T_probe_image = _calibration(recorded, settings, image or _only_image(recorded), probe)
    poses = tuple(_pose(frame, settings, probe, world) for frame in frames)
    if all(pose is None for pose in poses):
        known = sorted({name for frame in recorded.frames for name in frame.transforms})
        raise InputError(
            f"{recorded.path}: no image has a valid pose of {probe} in {world}; valid transforms "
            f"are {', '.join(f'{a} to {b}' for a, b in known) or 'none'}; "
            "choose another world frame"
        )
    height_px, width_px = frames[0].image.shape  # type: ignore[union-attr]
    layout = None if whole_image else _layout(settings)
    calibration = split_image_to_probe(T_probe_image, (width_px, height_px), layout)
    return PlusRecording(frames, poses, calibration, world, len(recorded.frames) - len(frames))


def find_transform(
    transforms: Transforms, source: str, target: str
) -> Float64[np.ndarray, "4 4"] | None:
    """Return ``T_target_source`` along the shortest chain of transforms, inverted where needed.

    Args:
        transforms: ``T_to_from`` by (from, to).
        source: Frame of the points.
        target: Frame to map them to.

    Returns:
        The affine, or None where no chain connects the two.
    """
    edges: dict[str, dict[str, Float64[np.ndarray, "4 4"]]] = {}
    for (here, there), T in transforms.items():
        edges.setdefault(here, {})[there] = T
        edges.setdefault(there, {}).setdefault(here, np.linalg.inv(T))
    reached = {source: np.eye(4)}
    queue = deque([source])
    while queue:
        here = queue.popleft()
        if here == target:
            return reached[here]
        for there, T in edges.get(here, {}).items():
            if there not in reached:
                reached[there] = T @ reached[here]
                queue.append(there)
    return None


def _pose(
    frame: PlusFrame, settings: PlusConfig, probe: str, world: str
) -> Float64[np.ndarray, "4 4"] | None:
    # A transform of the configuration stands in for a tracked one only where the tracker knows
    # nothing of it: one that it reports as invalid is not known at this moment.
    tracked = {(name, other) for name, other in frame.invalid}
    static = {names: T for names, T in settings.transforms.items() if names not in tracked}
    T = find_transform({**static, **frame.transforms}, source=probe, target=world)
    return nearest_rigid(T) if T is not None and is_rigid(T, tolerance=1e-2) else None


def _only_image(recorded: PlusSequence) -> str:
    others = {
        other
        for frame in recorded.frames
        for pair in (*frame.transforms, *frame.invalid)
        for other in pair
        if other.endswith("Image") and other != "Image"
    }
    if others:
        raise InputError(
            f"{recorded.path} knows the image frames Image, {', '.join(sorted(others))}; say in "
            "which one its pixels are counted (--image)"
        )
    return "Image"


def _calibration(
    recorded: PlusSequence, settings: PlusConfig, image: str, probe: str
) -> Float64[np.ndarray, "4 4"]:
    T = find_transform(settings.transforms, source=image, target=probe)
    if T is not None:
        return T
    # A crop of the images is not in the configuration but with every frame.
    chains = [
        find_transform({**settings.transforms, **_fixed_to(image, frame)}, image, probe)
        for frame in recorded.frames
    ]
    found = [chain for chain in chains if chain is not None]
    if len(found) < len(chains) or not all(np.array_equal(chain, found[0]) for chain in found):
        raise InputError(
            f"{settings.path} has no transform from {image} to {probe}, only {_names(settings)}, "
            "and the sequence has none that all its frames share; give the configuration that "
            "holds the probe's calibration"
        )
    return found[0]


def _fixed_to(image: str, frame: PlusFrame) -> dict[tuple[str, str], Float64[np.ndarray, "4 4"]]:
    return {pair: T for pair, T in frame.transforms.items() if image in pair}


def _default_world(recorded: PlusSequence) -> str:
    names = {name for frame in recorded.frames for pair in frame.transforms for name in pair}
    return "Reference" if "Reference" in names else "Tracker"


def _layout(settings: PlusConfig) -> ScanConversion | None:
    if len(settings.scan_conversions) > 1:
        names = ", ".join(layout.name for layout in settings.scan_conversions)
        raise InputError(
            f"{settings.path} has several ScanConversion elements ({names}); keep that of the "
            "probe in use, or ignore them (--whole-image)"
        )
    return settings.scan_conversions[0] if settings.scan_conversions else None


def _names(settings: PlusConfig) -> str:
    return ", ".join(f"{source} to {target}" for source, target in settings.transforms) or "none"
