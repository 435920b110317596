"""Events of an acquisition in time order: what a tracker and a scanner deliver."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.imaging.probe import ProbeGeometry


@dataclass(frozen=True, eq=False)
class ImageEvent:
    """Hold one B-mode image (H, W), rows = depth, stamped with its acquisition time."""

    stamp_ns: int
    image: UInt8[np.ndarray, "h w"]
    frame_id: str = "transducer"


@dataclass(frozen=True, eq=False)
class LabelEvent:
    """Hold one label image (H, W); 0 is background, its stamp equals that of its image."""

    stamp_ns: int
    label: UInt8[np.ndarray, "h w"]
    frame_id: str = "transducer"


@dataclass(frozen=True, eq=False)
class PoseEvent:
    """Hold one rigid pose, p_parent = T_parent_child @ p_child, in millimetres.

    `static` marks a calibration that holds for the whole acquisition (sent on /tf_static).
    """

    stamp_ns: int
    T_parent_child: Float64[np.ndarray, "4 4"]
    parent: str = "world"
    child: str = "probe"
    static: bool = False


@dataclass(frozen=True)
class GeometryEvent:
    """Hold the probe geometry that holds from this time on."""

    stamp_ns: int
    geometry: ProbeGeometry


AcquisitionEvent = ImageEvent | LabelEvent | PoseEvent | GeometryEvent
