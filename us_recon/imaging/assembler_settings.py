"""How images find their poses and labels, and the reasons why one is not used."""

from dataclasses import dataclass
from enum import StrEnum

from us_recon.geometry.pose_buffer import PoseLimits
from us_recon.settings import setting


class DropReason(StrEnum):
    """Why an image, a pose or a label was not used."""

    NO_GEOMETRY = "no_geometry"
    IMAGE_SIZE = "image_size"
    IMAGE_FORMAT = "image_format"
    IMAGE_FRAME = "image_frame"
    IMAGE_STALE = "image_stale"
    POSE_MISSING = "pose_missing"
    POSE_GAP = "pose_gap"
    POSE_TURN = "pose_turn"
    POSE_JUMP = "pose_jump"
    POSE_INVALID = "pose_invalid"
    POSE_FRAME = "pose_frame"
    OUTSIDE_BOX = "outside_box"
    LABEL_UNMATCHED = "label_unmatched"
    BACKLOG = "backlog"
    PAUSED = "paused"


@dataclass(frozen=True)
class AssemblerSettings:
    """How images find their poses."""

    world_frame: str = setting("world", "Frame the map is built in.")
    transducer_frame: str = setting(
        "transducer", "Frame of the array face; an image stamped with another frame is dropped."
    )
    image_time_offset_s: float = setting(
        0.0,
        "Added to image stamps: minus the constant delay of the image chain.",
        unit="s",
        minimum=-2.0,
        maximum=2.0,
    )
    max_pose_gap_s: float = setting(
        0.2, "Longest time between the two poses around an image.", unit="s", minimum=0.001
    )
    max_pose_turn_deg: float = setting(
        15.0, "Largest rotation between the two poses.", unit="deg", minimum=0.1, maximum=90.0
    )
    max_pose_step_mm: float = setting(
        50.0,
        "Largest distance between two poses in a row; beyond it the tracker jumped.",
        unit="mm",
        minimum=0.1,
        maximum=10000.0,
    )
    box_mm: tuple[float, ...] = setting(
        (0.0,) * 6,
        "Frames that show nothing of this box in world_frame are dropped: x, y and z of its lower "
        "corner, then of its upper one; all 0: no box.",
        unit="mm",
    )
    max_pending_images: int = setting(
        30, "Images that may wait for pose or geometry; beyond it the oldest goes.", minimum=1
    )
    label_wait_images: int = setting(
        0, "Newer images an image waits for a label that comes after it.", minimum=0, maximum=100
    )
    label_late_images: int = setting(
        60,
        "Images kept for labels that come after the image was used: a map then takes it once more.",
        minimum=0,
        maximum=10000,
    )

    def pose_limits(self, capacity: int = PoseLimits.capacity) -> PoseLimits:
        """Return when two poses may be interpolated, and how many poses are held."""
        return PoseLimits(
            self.max_pose_gap_s, self.max_pose_turn_deg, self.max_pose_step_mm, capacity
        )
