"""Settings of the occupancy field."""

from dataclasses import dataclass

from us_recon.settings import setting

LEVELS_MM = (8.0, 4.0, 2.0, 1.0)
LABEL_LOSSES = ("balanced", "transmitted")


@dataclass(frozen=True)
class FieldSettings:
    """What the field looks like, what it is fitted to and how fast.

    Values without a source were set by us on simulated spines of the development seeds.
    """

    sound_passes: bool = setting(
        False,
        "The target is an organ or a lesion, which sound passes: inside is occupied, throws no "
        "shadow and is shown by labels alone",
    )
    label_loss: str = setting(
        "balanced",
        "Label loss: balanced samples free space, the face and what is behind it alike; "
        "transmitted compares what each view can see (UltrON)",
        choices=LABEL_LOSSES,
    )
    beams_per_step: int = setting(24, "Scanlines rendered per step", minimum=2, maximum=1024)
    labels_per_step: int = setting(
        256, "Beams whose surface is compared per step", minimum=2, maximum=8192
    )
    learning_rate: float = setting(1e-2, "Of the features", minimum=0.0, maximum=1.0)
    network_rate: float = setting(3e-3, "Learning rate of the network", minimum=0.0, maximum=1.0)
    hidden: int = setting(32, "Width of the network's two layers", minimum=4, maximum=256)
    seed: int = setting(0, "Of all random choices", minimum=0)
    opacity_per_mm: float = setting(
        1.5,
        "Attenuation of what is occupied, where sound does not pass it",
        unit="1/mm",
        minimum=0.01,
        maximum=20.0,
    )
    render_weight: float = setting(6.0, "Weight of the render loss", minimum=0.0, maximum=1000.0)
    label_weight: float = setting(4.0, "Weight of the label loss", minimum=0.0, maximum=1000.0)
    detector_weight: float = setting(
        0.3, "What a surface from the detector weighs against a label", minimum=0.0, maximum=1.0
    )
    empty_weight: float = setting(
        0.5, "Weight of the assumption that what is seen is empty", minimum=0.0, maximum=1000.0
    )
    voxel_weight: float = setting(
        0.7, "What the voxels' log-odds weigh against the field's", minimum=0.0, maximum=100.0
    )
    min_views: float = setting(
        0.5,
        "Views that must have seen the empty side of a surface",
        minimum=0.0,
        maximum=1000.0,
    )
    min_alone_mm2: float = setting(
        20.0,
        "Separate parts that the voxels do not hold are dropped if they are smaller",
        unit="mm^2",
        minimum=0.0,
    )
    replay_memory_mb: int = setting(64, "Memory for frames to fit again", unit="MiB", minimum=1)
    max_memory_mb: int = setting(256, "Memory for features", unit="MiB", minimum=4)

    @property
    def shadow_per_mm(self) -> float:
        """Attenuation of what is occupied: none where sound passes it."""
        return 0.0 if self.sound_passes else self.opacity_per_mm
