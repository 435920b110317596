"""Settings of the MRI registration."""

from dataclasses import dataclass

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
        0.3, "Damping of the local fits, relative to the MRI's median local variance.",
        minimum=0.0, maximum=10.0,
    )  # fmt: skip
    empty_level: float = setting(
        4.0, "Brightness below which an image is taken to show nothing (0 to 255).",
        minimum=0.0, maximum=255.0,
    )  # fmt: skip
    near_field_mm: float = setting(
        2.0, "Depth below the array face that is ignored.", unit="mm", minimum=0.0
    )
    remove_depth_mean: bool = setting(
        False, "Subtract the mean across beams at each depth (time-gain compensation)."
    )
    window_frames: int = setting(
        12, "Frames that are registered together, chosen for different poses.",
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
    capture_mm: float = setting(
        6.0, "Translation from the initial guess that is searched.", unit="mm", minimum=0.0
    )
    capture_deg: float = setting(
        6.0, "Rotation from the initial guess that is searched.", unit="deg",
        minimum=0.0, maximum=180.0,
    )  # fmt: skip
    start_count: int = setting(
        128, "Poses that are scored in the search; 0 refines the initial guess alone.",
        minimum=0, maximum=100_000,
    )  # fmt: skip
    refine_count: int = setting(
        12, "Best poses of the search that are refined a little.", minimum=1, maximum=1000
    )
    first_iterations: int = setting(3, "Steps of these first refinements.", minimum=1, maximum=1000)
    mode_count: int = setting(
        4, "Best different poses after them that are refined further.", minimum=1, maximum=1000
    )
    search_samples: int = setting(
        30_000, "Samples of the window that the search uses; the result is refined on all.",
        minimum=1000, maximum=10_000_000,
    )  # fmt: skip
    search_iterations: int = setting(
        8, "Steps of these further refinements.", minimum=1, maximum=1000
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
    min_margin: float = setting(
        0.03, "Least lead in score over chance, which is what the images reach mirrored.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    min_gap: float = setting(
        0.01, "Least lead in score over any other answer that is trusted.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
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
