"""Settings of the occupancy mapper."""

from dataclasses import dataclass
from enum import StrEnum

from us_recon.errors import ConfigError
from us_recon.occupancy.block_grid import BYTES_PER_BLOCK, BlockGrid
from us_recon.occupancy.bone_detector import DETECTORS, BoneDetectorSettings
from us_recon.occupancy.bone_evidence import BoneEvidenceSettings
from us_recon.occupancy.field.field_map import FieldMap
from us_recon.occupancy.field.settings import LABEL_LOSSES, FieldSettings
from us_recon.occupancy.maps import FusionSettings, SurfaceMap
from us_recon.occupancy.tsdf import TsdfMap, TsdfSettings
from us_recon.occupancy.voxels import LogOddsMap, LogOddsSettings
from us_recon.settings import setting

TARGETS = ("bone", "organ")


class MapMethod(StrEnum):
    """How surfaces are fused."""

    TSDF = "tsdf"
    LOG_ODDS = "log_odds"
    FIELD = "field"


@dataclass(frozen=True)
class MapperSettings:
    """Settings of the occupancy mapper."""

    method: str = setting(
        "field", "How surfaces are fused", choices=tuple(str(method) for method in MapMethod)
    )
    target: str = setting(
        "bone",
        "What labels mark: bone, whose face throws a shadow; or an organ or lesion that sound "
        "passes, whose inside is occupied and which only labels show",
        choices=TARGETS,
    )
    label_value: int = setting(
        0,
        "Value of the target in label images that hold several; 0: every value but 0",
        minimum=0,
        maximum=255,
    )
    surfaces: str = setting(
        "auto",
        "Where surfaces come from: auto takes the label where there is one, else the detector",
        choices=("auto", "label", "detector"),
    )
    spacing_mm: float = setting(1.0, "Edge of a voxel", unit="mm", minimum=0.2, maximum=10.0)
    half_thickness_mm: float = setting(
        3.0,
        "How far at most a frame speaks for voxels off its plane; where frames lie closer, less",
        unit="mm",
        minimum=0.1,
        maximum=20.0,
    )
    truncation_mm: float = setting(
        TsdfSettings.truncation_mm,
        "Reach of a surface in front of and behind it",
        unit="mm",
        minimum=0.5,
        maximum=20.0,
    )
    min_weight: float = setting(
        FusionSettings.min_weight,
        "Weight of observations that a voxel needs for a surface",
        minimum=0.0,
        maximum=1000.0,
    )
    min_part_mm2: float = setting(
        5.0, "Smaller separate parts of the mesh are dropped", unit="mm^2", minimum=0.0
    )
    detector: str = setting(
        BoneDetectorSettings.kind,
        "What looks for bone: ridge and shadow by rule, a network trained in simulation, or both; "
        "adaptive: the rule until labels have taught the network, then both",
        choices=DETECTORS,
    )
    learning_steps: int = setting(
        20,
        "Steps for which the adaptive detector's network learns with every label",
        minimum=0,
        maximum=1000,
    )
    bone_threshold: float = setting(
        BoneEvidenceSettings.threshold,
        "Evidence that the ridge detector needs for bone",
        minimum=0.0,
        maximum=10.0,
    )
    bone_min_depth_mm: float = setting(
        BoneEvidenceSettings.min_depth_mm,
        "The detector sees no bone above this depth",
        unit="mm",
        minimum=0.0,
        maximum=200.0,
    )
    max_memory_mb: int = setting(
        256,
        "Memory for voxels, and as much for a field; a map that is full stops growing",
        unit="MiB",
        minimum=1,
    )
    steps_per_frame: int = setting(
        4, "Steps that a field is fitted for with every frame", minimum=0, maximum=1000
    )
    settle_steps: int = setting(
        1000,
        "Steps that a field is fitted for at the end of a scan, to all of it, smaller and smaller",
        minimum=0,
        maximum=100_000,
    )
    label_loss: str = setting(
        FieldSettings.label_loss,
        "Label loss of a field: balanced over free space, face and what is behind it; or "
        "transmitted, on what each view can see",
        choices=LABEL_LOSSES,
    )
    replay_memory_mb: int = setting(
        FieldSettings.replay_memory_mb,
        "Memory for frames that a field is fitted to again and again",
        unit="MiB",
        minimum=1,
    )
    prior: str = setting(
        "",
        "File of a prior (`us-recon prior train`): its shape fills in what was not seen, its "
        "decoder, if it has one, is what detector learned, both or adaptive begins with; empty: "
        "nothing is filled in",
    )
    seed: int = setting(FieldSettings.seed, "Of a field's random choices", minimum=0)

    def bone_detector(self) -> BoneDetectorSettings:
        """Return the settings of the bone detector."""
        evidence = BoneEvidenceSettings(
            threshold=self.bone_threshold, min_depth_mm=self.bone_min_depth_mm
        )
        return BoneDetectorSettings(evidence=evidence, kind=self.detector)

    def field(self) -> FieldSettings:
        """Return the settings of the field."""
        organ = self.target == "organ"
        return FieldSettings(
            sound_passes=organ,
            empty_weight=0.0 if organ else FieldSettings.empty_weight,
            label_loss=self.label_loss,
            replay_memory_mb=self.replay_memory_mb,
            max_memory_mb=self.max_memory_mb,
            seed=self.seed,
        )

    def new_map(self) -> SurfaceMap:
        """Return an empty map.

        Raises:
            ConfigError: The source of surfaces knows bone alone.
        """
        if self.target == "organ" and self.surfaces == "detector":
            raise ConfigError("the detector finds bone alone; expected surfaces auto or label")
        grid = BlockGrid(self.spacing_mm, (self.max_memory_mb << 20) // BYTES_PER_BLOCK)
        if self.method == MapMethod.LOG_ODDS:
            return LogOddsMap(
                grid,
                LogOddsSettings(
                    ramp_mm=0.5 * self.truncation_mm,
                    wall_mm=self.truncation_mm,
                    min_weight=self.min_weight,
                ),
            )
        if self.method == MapMethod.FIELD:
            return FieldMap(self.field(), LogOddsMap(grid), self.bone_min_depth_mm)
        return TsdfMap(
            grid,
            TsdfSettings(
                truncation_mm=self.truncation_mm,
                min_weight=self.min_weight,
            ),
        )
