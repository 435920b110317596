"""A virtual acquisition as plain arrays, for programs that want neither ROS nor bags."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from us_recon.files import atomic_path
from us_recon.simulation.cell import ScanningCell


@dataclass(frozen=True, eq=False)
class CellArrays:
    """What a cell sends, and the true poses.

    Attributes:
        images: B-mode images.
        image_stamps_ns: Their stamps.
        T_world_transducer: True pose of the array face at each image, mm.
        labels: Masks of the labelled images.
        label_images: Number of the image that each label belongs to.
        pose_stamps_ns: Stamps of the tracker's poses.
        T_world_probe: Poses as the tracker reports them, mm.
        T_probe_transducer: Calibration as it is sent, mm.
        T_world_mri: True pose of the MRI, mm.
    """

    images: UInt8[np.ndarray, "images rows columns"]
    image_stamps_ns: Int64[np.ndarray, " images"]
    T_world_transducer: Float64[np.ndarray, "images 4 4"]
    labels: UInt8[np.ndarray, "labels rows columns"]
    label_images: Int64[np.ndarray, " labels"]
    pose_stamps_ns: Int64[np.ndarray, " poses"]
    T_world_probe: Float64[np.ndarray, "poses 4 4"]
    T_probe_transducer: Float64[np.ndarray, "4 4"]
    T_world_mri: Float64[np.ndarray, "4 4"]


def record_arrays(cell: ScanningCell) -> CellArrays:
    """Simulate a whole acquisition; all of its images are held in memory."""
    labelled = [number for number in range(cell.image_count) if cell.is_labelled(number)]
    labels = [cell.label_event(number).label for number in labelled]
    return CellArrays(
        images=np.stack([cell.image_event(number).image for number in range(cell.image_count)]),
        image_stamps_ns=cell.image_stamps_ns,
        T_world_transducer=cell.T_world_transducer,
        labels=np.stack(labels) if labels else np.zeros((0, *cell.geometry.shape), np.uint8),
        label_images=np.array(labelled, dtype=np.int64),
        pose_stamps_ns=cell.pose_stream.stamps_ns,
        T_world_probe=cell.pose_stream.T_world_probe,
        T_probe_transducer=cell.T_probe_transducer_sent,
        T_world_mri=cell.T_world_mri,
    )


def write_arrays(cell: ScanningCell, path: Path) -> dict[str, int]:
    """Write an acquisition as a NumPy archive and return how many of each it holds.

    The archive has one array per field of `CellArrays` and one per field of the probe geometry,
    ``geometry_NAME``. It is written whole or not at all.
    """
    arrays = record_arrays(cell)
    named = {item.name: getattr(arrays, item.name) for item in fields(arrays)}
    named |= {f"geometry_{name}": value for name, value in asdict(cell.geometry).items()}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **named)
    return {name: len(named[name]) for name in ("images", "labels", "T_world_probe")}
