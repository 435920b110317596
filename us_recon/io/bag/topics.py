"""Names of the topics of an acquisition."""

from dataclasses import dataclass

from us_recon.settings import setting


@dataclass(frozen=True)
class TopicNames:
    """Where images, geometry, labels and poses are found in a bag."""

    image_topic: str = setting("/ultrasound/image", "B-mode images.")
    geometry_topic: str = setting("/ultrasound/probe_geometry", "Geometry of the images' pixels.")
    label_topic: str = setting("/ultrasound/label", "Labels of the images, of equal stamp.")
    tf_topic: str = setting("/tf", "Moving transforms.")
    tf_static_topic: str = setting("/tf_static", "Transforms that hold at all times.")
    pose_topic: str = setting("", "Poses as PoseStamped instead of tf; empty for none.")
    pose_child_frame: str = setting("probe", "Frame whose pose the pose topic holds.")


DEFAULT_TOPICS = TopicNames()
