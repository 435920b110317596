"""A recording held for calibration: small band-passed images, and the track of the transducer."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.spatial.transform import Rotation, Slerp

from us_recon.errors import InputError
from us_recon.geometry.pose_buffer import NS_PER_S, TransformTree
from us_recon.imaging.assembler import AssemblerSettings, DropReason, FrameAssembler
from us_recon.imaging.events import AcquisitionEvent, ImageEvent, PoseEvent
from us_recon.imaging.orientation import normalise_orientation
from us_recon.imaging.probe import ProbeGeometry

PIXEL_MM = 0.5
FINE_MM, COARSE_MM = 0.6, 4.0
"""Standard deviations of the two blurs whose difference keeps structure without speckle and
without gain."""
BEFORE_THINNING = 0.4
"""Blur before an image is thinned out to `PIXEL_MM`, in those pixels, against aliasing."""
EDGE_MM = 1.5
"""What lies nearer to the edge of the sector is left out, and twice that below the face."""
LEAST_IMAGES = 20
MAXIMUM_IMAGES = 1500
"""More would need over a gigabyte."""


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Poses of the transducer at increasing times, interpolated but never extrapolated.

    Attributes:
        times_s: Times of the poses, counted from the first image.
        T_world_transducer: Rigid poses, mm.
        max_gap_s: Longest time between two poses that are interpolated.
    """

    times_s: Float64[np.ndarray, " poses"]
    T_world_transducer: Float64[np.ndarray, "poses 4 4"]
    max_gap_s: float

    def at(
        self, times_s: Float64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n 4 4"], Bool[np.ndarray, " n"]]:
        """Return the poses at times, and which of them are known; the others mean nothing."""
        after = np.clip(np.searchsorted(self.times_s, times_s), 1, len(self.times_s) - 1)
        gap_s = self.times_s[after] - self.times_s[after - 1]
        held_s = np.clip(times_s, self.times_s[0], self.times_s[-1])
        known = (held_s == times_s) & (gap_s <= self.max_gap_s)
        T = np.tile(np.eye(4), (len(times_s), 1, 1))
        T[:, :3, :3] = self._rotations(held_s).as_matrix()
        part = (held_s - self.times_s[after - 1]) / gap_s
        before_mm = self.T_world_transducer[after - 1, :3, 3]
        T[:, :3, 3] = before_mm + part[:, None] * (
            self.T_world_transducer[after, :3, 3] - before_mm
        )
        return T, known

    @property
    def _rotations(self) -> Slerp:
        return _slerp(self)


@lru_cache(maxsize=4)
def _slerp(track: PoseTrack) -> Slerp:
    return Slerp(track.times_s, Rotation.from_matrix(track.T_world_transducer[:, :3, :3]))


@dataclass(frozen=True, eq=False)
class Recording:
    """What calibration needs of a recording.

    Attributes:
        times_s: Stamps of the images, the configured offset added, counted from the first.
        images: Structure of each image on a grid of `PIXEL_MM`: band-passed, its mean over time
            taken off, zero outside the sector.
        points_mm: Lateral and axial place of every pixel of that grid in the transducer.
        inside: Pixels that show tissue.
        track: Where the transducer was.
        geometry: Geometry of the images as they came.
        pose_stamps_s: Stamps of the moving transforms of each frame, in the order of arrival.
        invalid_poses: Transforms that are no rigid pose.
        T_parent_transducer: The calibration as it was recorded, rigid or not; None where the
            transducer's own pose was recorded.
    """

    times_s: Float64[np.ndarray, " images"]
    images: Float32[np.ndarray, "images rows columns"]
    points_mm: Float64[np.ndarray, "rows columns 2"]
    inside: Bool[np.ndarray, "rows columns"]
    track: PoseTrack
    geometry: ProbeGeometry
    pose_stamps_s: dict[str, Float64[np.ndarray, " poses"]]
    invalid_poses: int
    T_parent_transducer: Float64[np.ndarray, "4 4"] | None

    @property
    def image_period_s(self) -> float:
        """Median time between two images."""
        return float(np.median(np.diff(self.times_s)))

    @property
    def duration_s(self) -> float:
        """Time from the first to the last image."""
        return float(self.times_s[-1] - self.times_s[0])


def read_recording(
    events: Iterable[AcquisitionEvent], settings: AssemblerSettings | None = None
) -> Recording:
    """Hold a recording for calibration.

    Args:
        events: The recording, in the order of arrival.
        settings: Names of the frames, limits of interpolation, and the offset in use.

    Raises:
        InputError: Too few or too many images, no pose, or a geometry that changes.
    """
    settings = settings or AssemblerSettings()
    limits = settings.pose_limits(capacity=10**9)
    assembler = FrameAssembler(settings)
    assembler.tree = TransformTree(limits)
    grid: _Grid | None = None
    seen: dict[int, Float32[np.ndarray, "rows columns"]] = {}
    pose_stamps: dict[str, list[int]] = {}
    T_calibration: Float64[np.ndarray, "4 4"] | None = None
    for event in events:
        if isinstance(event, ImageEvent):
            geometry = assembler.geometry
            if geometry is None or event.frame_id != settings.transducer_frame:
                continue
            if grid is None:
                grid = _Grid(geometry)
            elif grid.geometry != geometry:
                raise InputError(
                    "the probe geometry changes during the recording; record one with a fixed "
                    "depth, or cut it where the depth changes"
                )
            image = normalise_orientation(event.image, geometry.orientation)
            if image.shape == geometry.shape and event.stamp_ns not in seen:
                seen[event.stamp_ns] = grid.structure(image)
            if len(seen) > MAXIMUM_IMAGES:
                raise InputError(
                    f"more than {MAXIMUM_IMAGES} images; half a minute of motion is enough: "
                    "record a shorter one, or lower the image rate"
                )
        else:
            assembler.push(event)
            if isinstance(event, PoseEvent) and not event.static:
                pose_stamps.setdefault(event.child, []).append(event.stamp_ns)
            elif isinstance(event, PoseEvent) and event.child == settings.transducer_frame:
                T_calibration = event.T_parent_child
    if grid is None or len(seen) < LEAST_IMAGES:
        raise InputError(
            f"{len(seen)} images of frame {settings.transducer_frame!r} with a probe geometry; "
            f"expected {LEAST_IMAGES} or more; `us-recon inspect` says what is missing"
        )
    stamps_ns = np.array(sorted(seen), dtype=np.int64)
    images = np.stack([seen[stamp] for stamp in stamps_ns.tolist()])
    images -= images.mean(axis=0)
    first_ns = int(stamps_ns[0])
    times_s = (stamps_ns - first_ns) / NS_PER_S + settings.image_time_offset_s
    every_stamp = {stamp for stamps in pose_stamps.values() for stamp in stamps}
    return Recording(
        times_s,
        images,
        grid.points_mm,
        grid.inside,
        _track(assembler.tree, every_stamp, first_ns, settings),
        grid.geometry,
        {child: (np.array(each) - first_ns) / NS_PER_S for child, each in pose_stamps.items()},
        assembler.drops[DropReason.POSE_INVALID],
        T_calibration,
    )


def _track(
    tree: TransformTree, stamps_ns: set[int], first_ns: int, settings: AssemblerSettings
) -> PoseTrack:
    """Look the transducer up at every time at which some frame of the chain was reported."""
    times_s, poses, problem = [], [], "no pose was recorded"
    for stamp_ns in sorted(stamps_ns):
        found = tree.lookup(settings.world_frame, settings.transducer_frame, stamp_ns)
        if found.T is None:
            problem = found.detail
            continue
        times_s.append((stamp_ns - first_ns) / NS_PER_S)
        poses.append(found.T)
    if len(poses) < 2:
        raise InputError(
            f"no pose of {settings.transducer_frame!r} in {settings.world_frame!r}: {problem}; "
            "`us-recon inspect` says what is missing"
        )
    return PoseTrack(np.array(times_s), np.stack(poses), settings.max_pose_gap_s)


class _Grid:
    """The grid on which structure is held, for one geometry."""

    def __init__(self, geometry: ProbeGeometry) -> None:
        self.geometry = geometry
        corners = geometry.pixels_to_mm(
            np.array([[0.0, 0.0], [geometry.width_px - 1.0, geometry.height_px - 1.0]])
        )
        axes = [np.arange(low, high, PIXEL_MM) for low, high in corners.T]
        self.points_mm = np.stack(np.meshgrid(*axes), axis=-1)
        pixels = geometry.mm_to_pixels(self.points_mm)
        columns, rows = np.moveaxis(pixels.astype(np.float32), -1, 0)
        self._maps = np.ascontiguousarray(columns), np.ascontiguousarray(rows)
        fan = geometry.fan_mask.astype(np.float32)
        self._fan: Float32[np.ndarray, "rows columns"] = np.asarray(
            cv2.remap(fan, *self._maps, cv2.INTER_LINEAR), dtype=np.float32
        )
        self._weights = {
            sigma: np.maximum(cv2.GaussianBlur(self._fan, (0, 0), sigma / PIXEL_MM), 1e-3)
            for sigma in (FINE_MM, COARSE_MM)
        }
        distance_px = cv2.distanceTransform((self._fan > 0.99).astype(np.uint8), cv2.DIST_L2, 5)
        self.inside = np.asarray(distance_px * PIXEL_MM >= EDGE_MM)
        self.inside &= self.points_mm[..., 1] > 2.0 * EDGE_MM  # the transmit pulse is no tissue

    def structure(self, image: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "rows columns"]:
        """Return the band-passed image, 0 where no tissue is shown."""
        steps_mm = self.geometry.spacing_x_mm, self.geometry.spacing_y_mm
        along_x, along_y = (BEFORE_THINNING * PIXEL_MM / step_mm for step_mm in steps_mm)
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), along_x, sigmaY=along_y)
        small = np.asarray(cv2.remap(smooth, *self._maps, cv2.INTER_LINEAR)) * self._fan
        fine, coarse = (self._blurred(small, sigma) for sigma in (FINE_MM, COARSE_MM))
        return np.where(self.inside, fine - coarse, np.float32(0.0)).astype(np.float32)

    def _blurred(
        self, image: Float32[np.ndarray, "rows columns"], sigma_mm: float
    ) -> Float32[np.ndarray, "rows columns"]:
        """Blur inside the sector alone, so that its edge leaves no trace."""
        sigma = sigma_mm / PIXEL_MM
        blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
        return (blurred / self._weights[sigma_mm]).astype(np.float32)
