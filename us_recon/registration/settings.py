"""Settings of the MRI registration."""

from dataclasses import dataclass, replace

from us_recon.settings import setting


@dataclass(frozen=True)
class RegistrationSettings:
    """How images are compared with the MRI, how the pose is sought and when it is believed."""

    grid_mm: float = setting(
        1.0, "Spacing at which images and MRI are compared.", unit="mm", minimum=0.2, maximum=5.0
    )
    blur_mm: float = setting(
        0.5, "Standard deviation of the blur of both.", unit="mm", minimum=0.0, maximum=5.0
    )
    patch_samples: int = setting(
        5, "Edge of a patch, in samples of the grid.", minimum=3, maximum=21
    )
    patch_stride: int = setting(
        2, "Samples from one patch to the next; less than the edge makes them overlap.",
        minimum=1, maximum=21,
    )  # fmt: skip
    ridge: float = setting(
        0.1, "Damping of the local fits, relative to the MRI's median local variance.",
        minimum=0.0, maximum=10.0,
    )  # fmt: skip
    empty_level: float = setting(
        4.0, "Brightness below which an image is taken to show nothing (0 to 255).",
        minimum=0.0, maximum=255.0,
    )  # fmt: skip
    near_field_mm: float = setting(
        5.0,
        "Depth below the array face that is ignored: what shines there, the pulse's own ringing, "
        "gel, cover and membrane, no MRI shows.",
        unit="mm",
        minimum=0.0,
    )
    time_gain_mm: float = setting(
        6.0,
        "Depth over which the scanner's time gain changes: the images' mean brightness by depth, "
        "smoothed over so much, is subtracted; 0 subtracts nothing.",
        unit="mm",
        minimum=0.0,
        maximum=100.0,
    )
    channels: str = setting(
        "joint",
        "What explains the images: mri (LC2: intensity and gradient magnitude), tissue (levels of "
        "edges and backscatter; needs the MRI's contrast), or joint (LC2, and the backscatter "
        "where one MRI is given and its contrast).",
        choices=("joint", "mri", "tissue"),
    )
    window_frames: int = setting(
        24, "Frames that are registered together, chosen for different poses.",
        minimum=1, maximum=200,
    )  # fmt: skip
    min_frames: int = setting(
        3, "Frames that are needed before an attempt.", minimum=1, maximum=200
    )
    keyframe_distance_mm: float = setting(
        1.5, "A frame counts as new where its image has moved this far.", unit="mm", minimum=0.0
    )
    keyframe_life: int = setting(
        200, "Frames after which one from the same place replaces a frame of the window.",
        minimum=1, maximum=1_000_000,
    )  # fmt: skip
    retry_keyframes: int = setting(
        4, "New frames after which an attempt that failed is repeated.", minimum=1, maximum=200
    )
    outside_share: float = setting(
        0.1, "Share of its variance that counts as explained where an image lies outside the MRI.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    capture_mm: float = setting(
        31.0, "Translation from the initial guess that is searched.", unit="mm", minimum=0.0
    )
    capture_deg: float = setting(
        21.0, "Rotation from the initial guess that is searched.", unit="deg",
        minimum=0.0, maximum=180.0,
    )  # fmt: skip
    coarse_grid_mm: float = setting(
        1.5, "Spacing at which the poses of a search are first scored and refined.", unit="mm",
        minimum=0.2, maximum=10.0,
    )  # fmt: skip
    coarse_blur_mm: float = setting(
        1.5, "Standard deviation of the blur there.", unit="mm", minimum=0.0, maximum=10.0
    )
    coarse_time_gain_mm: float = setting(
        0.3,
        "As time_gain_mm, there: poses far off are told better without what all images share.",
        unit="mm",
        minimum=0.0,
        maximum=100.0,
    )
    coarse_patch_samples: int = setting(
        6, "Edge of a patch there, in samples of that grid.", minimum=3, maximum=21
    )
    coarse_patches: int = setting(
        120, "Patches by which poses are scored there.", minimum=10, maximum=100_000
    )
    start_count: int = setting(
        4096, "Poses that are scored in each round of a search; 0 refines the initial guess alone.",
        minimum=0, maximum=1_000_000,
    )  # fmt: skip
    max_rounds: int = setting(
        2, "Rounds of a search, each of further poses, after which it ends without a clear lead.",
        minimum=1, maximum=1000,
    )  # fmt: skip
    search_gap: float = setting(
        0.03, "Lead in score over any other answer at which a search ends early.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    refine_count: int = setting(
        150, "Best poses of a round that are refined coarsely.", minimum=1, maximum=10_000
    )
    candidate_count: int = setting(
        40, "Best different poses after that which are refined finely and ranked there.",
        minimum=1, maximum=10_000,
    )  # fmt: skip
    candidate_patches: int = setting(
        1600, "Patches by which these are ranked.", minimum=10, maximum=100_000
    )
    mode_count: int = setting(
        5, "Best different poses after that which are compared on the whole window.",
        minimum=1, maximum=1000,
    )  # fmt: skip
    mirrored_count: int = setting(
        1024, "Poses that are scored with the images mirrored, to learn what chance reaches.",
        minimum=0, maximum=1_000_000,
    )  # fmt: skip
    threads: int = setting(
        2, "Threads of a search; the result does not depend on it.", minimum=1, maximum=256
    )
    max_iterations: int = setting(
        25, "Steps of the last refinement and of tracking.", minimum=1, maximum=1000
    )
    tolerance_mm: float = setting(
        0.02, "A refinement ends when a step moves the images less.", unit="mm", minimum=0.0
    )
    mode_distance_mm: float = setting(
        3.0, "Two poses that place the images further apart are two answers.",
        unit="mm", minimum=0.0,
    )  # fmt: skip
    min_score: float = setting(
        0.1, "Least explained share of the images' variance that is trusted.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    min_confidence: float = setting(
        0.9, "Least probability of being within 3 mm that is trusted.", minimum=0.0, maximum=1.0
    )
    min_coverage: float = setting(
        0.5, "Least share of the image samples that must lie inside the MRI.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    min_area_mm2: float = setting(
        1500.0, "Least area with echoes, over all frames.", unit="mm2", minimum=0.0
    )
    min_spread_mm: float = setting(
        5.0, "Least distance across the image planes that the frames must span.",
        unit="mm", minimum=0.0,
    )  # fmt: skip
    tracking_frames: int = setting(
        5, "Newest frames that a trusted pose is followed with.", minimum=1, maximum=50
    )
    tracking_span_s: float = setting(
        1.0, "Older frames do not take part in that: the patient has moved since.",
        unit="s", minimum=0.05, maximum=60.0,
    )  # fmt: skip
    motion_mm: float = setting(
        0.5, "How far the patient wanders in a second, beside what the tracker sees "
        "(standard deviation of each axis; it grows with the root of time).",
        unit="mm", minimum=0.001, maximum=100.0,
    )  # fmt: skip
    motion_deg: float = setting(
        0.5, "How far he turns in a second, likewise.", unit="deg", minimum=0.001, maximum=100.0
    )
    tracking_lead: float = setting(
        0.4, "Lead in score over places beside it that a followed pose keeps, as a share of what "
        "it had when it was registered; with less it stays where it is.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip

    def coarse(self) -> "RegistrationSettings":
        """Return the settings of the level at which a search begins."""
        return replace(
            self,
            channels="mri",
            grid_mm=self.coarse_grid_mm,
            blur_mm=self.coarse_blur_mm,
            time_gain_mm=self.coarse_time_gain_mm,
            patch_samples=self.coarse_patch_samples,
            patch_stride=self.coarse_patch_samples,
        )

    def without_overlap(self) -> "RegistrationSettings":
        """Return the settings with patches beside each other."""
        return replace(self, patch_stride=self.patch_samples)
