"""Settings of the nodes themselves: their topics, queues, periods and files.

They stand here, without ROS, so that parameter files can be written, read and checked offline.
"""

from dataclasses import dataclass

from us_recon.settings import setting


@dataclass(frozen=True)
class SourceSettings:
    """Which topics a node listens to, and how."""

    pose_source: str = setting(
        "tf",
        "Where probe poses come from: tf, or PoseStamped on `probe_pose`.",
        choices=("tf", "topic"),
    )
    probe_frame: str = setting(
        "probe", "Frame of the tracked body, for poses that come as PoseStamped."
    )
    reliable_images: bool = setting(
        False, "Ask for every image (replays); otherwise late images may be lost (sensors)."
    )
    image_queue: int = setting(
        30, "Images the middleware keeps for a busy node.", minimum=1, maximum=10_000
    )


@dataclass(frozen=True)
class ConsumerSettings:
    """Queue and status of a node that consumes frames."""

    queue_frames: int = setting(
        300, "Frames that may wait for the worker; beyond it the oldest is dropped.", minimum=1
    )
    status_period_s: float = setting(
        1.0, "Time between two status messages.", unit="s", minimum=0.05
    )
    stall_after_s: float = setting(
        3.0,
        "Time without an image after which the stream counts as stalled.",
        unit="s",
        minimum=0.1,
    )


@dataclass(frozen=True)
class MapperNodeSettings:
    """What the mapper node does with the surface."""

    mesh_period_s: float = setting(
        1.0, "Time between two publications of the mesh.", unit="s", minimum=0.05
    )
    output_dir: str = setting(
        "", "Folder for mesh and map, written by `~/save` and at shutdown; empty writes nothing."
    )
    map_file: str = setting(
        "",
        "Map (map.npz of an earlier scan) to go on from, with the settings it was made with; empty "
        "starts anew.",
    )


@dataclass(frozen=True)
class RegistrationNodeSettings:
    """What the registration node registers, from where, and how often."""

    mri_file: str = setting("", "Preoperative MRI (NIfTI, .mha or .nrrd).")
    second_mri_file: str = setting(
        "", "Another MRI of the patient that lies on the first, as FLAIR on T1; empty: none."
    )
    mri_frame: str = setting("mri", "Frame of the MRI (RAS+, the scanner's millimetres).")
    parent_frame: str = setting(
        "", "Parent of the MRI in tf: a tracked `patient`, for instance; empty is the world."
    )
    initial_from: str = setting(
        "topic",
        "Where the first guess comes from: PoseStamped on `~/initial_pose` (which always counts), "
        "the parameters, landmark pairs in a file, points clicked in RViz, or the surface that the "
        "mapper made against a segmented one.",
        choices=("topic", "parameters", "landmarks", "clicks", "surface"),
    )
    landmarks_file: str = setting(
        "",
        "MNI tag file: points of the MRI (mm, RAS+) and of the world, for `landmarks`; for "
        "`clicks` those of the MRI, in the order of the clicks.",
    )
    clicked_topic: str = setting(
        "/clicked_point", "Clicked points (geometry_msgs/PointStamped), as RViz publishes them."
    )
    mri_surface_file: str = setting(
        "", "For `surface`: the bone segmented in the MRI or CT (.stl, .ply, .obj; mm, RAS+)."
    )
    surface_file: str = setting(
        "", "For `surface`: a mapped mesh (mm, world); empty waits for one on `surface_topic`."
    )
    surface_topic: str = setting(
        "occupancy_mapper/mesh", "Mapped mesh (visualization_msgs/Marker, triangles)."
    )
    surface_min_triangles: int = setting(
        2000, "Triangles that the mapped mesh needs before it is aligned.", minimum=100
    )
    initial_translation_m: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0),
        "Origin of the MRI in the world, for `parameters`; for `surface` the guess to start from.",
        unit="m",
    )
    initial_rotation_rpy_rad: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Roll, pitch, yaw of the MRI in the world.", unit="rad"
    )
    register_every_frames: int = setting(
        10, "New frames between two attempts.", minimum=1, maximum=100_000
    )
    poses_per_step: int = setting(
        256,
        "Work of a search between two looks at the stream, in scored poses.",
        minimum=1,
        maximum=100_000_000,
    )
    follow_rate_hz: float = setting(
        10.0, "How often a trusted pose is followed up, at most as often as images come.",
        unit="Hz", minimum=0.1, maximum=100.0,
    )  # fmt: skip
    expected: str = setting(
        "fit",
        "How the expected image is made: fit (the MRI's intensity, fitted to every image), or "
        "render (by its acoustics, for every image that the machine keeps up with; needs "
        "mri_contrast).",
        choices=("fit", "render"),
    )
    expected_period_s: float = setting(
        0.5, "Time between two expected images that are fitted.", unit="s", minimum=0.02
    )
    mri_contrast: str = setting(
        "",
        "What the MRI is: t1, t2, flair, or ct for Hounsfield units. With it the MRI's tissue is "
        "mapped, to explain images by it and to render them; empty: unknown.",
        choices=("", "t1", "t2", "flair", "ct"),
    )
    device_file: str = setting(
        "", "Scanner to render for, from `us-recon fit-device`; empty takes the defaults."
    )


@dataclass(frozen=True)
class CellNodeSettings:
    """The virtual cell that the simulator node plays."""

    scene: str = setting(
        "spine", "Virtual patient; `us-recon simulate --help` names them and their settings."
    )
    probe: str = setting("convex", "Virtual probe.", choices=("linear", "convex", "phased"))
    seed: int = setting(0, "Seed of patient, speckle and tracking noise.", minimum=0)
    rate: float = setting(1.0, "Speed of the sweep.", minimum=0.05, maximum=20.0)
    options: str = setting(
        "",
        "Settings of sweep, tracker, scanner and patient as `us-recon simulate` knows them, with "
        "blanks between: sweep=fan noise_mm=0.3 gain_db=6.",
    )
    image_rate_hz: float = setting(20.0, "Images per second.", unit="Hz", minimum=0.5, maximum=60.0)
    label_every: int = setting(0, "Every how many images a label is sent; 0 sends none.", minimum=0)
    loop: bool = setting(False, "Start the sweep again when it ends.")
    prepare: bool = setting(
        False,
        "Make all images before the sweep starts and keep them: they then come at their rate "
        "whatever the machine.",
    )
    wait_for_subscribers: int = setting(
        0, "Readers of the images to wait for before the sweep starts.", minimum=0
    )
    truth_dir: str = setting(
        "", "Folder that gets the true mesh, transforms and MRI; empty writes none."
    )
