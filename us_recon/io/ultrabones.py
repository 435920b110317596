"""The leg recordings of the UltraBones collection: PNG images and a table of poses.

A point of the image lies in the frame of the CT scan at
``M(row of the table) @ CALIBRATION @ diag(s, s, 1, 1) @ (column + 0.5, row + 0.5, 0, 1)``, with the
scale s in mm per pixel (UltraBones100k's own processing). The CT frame becomes ``world``.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from us_recon.errors import InputError
from us_recon.geometry.rigid import from_euler_xyz_deg, make_rigid
from us_recon.imaging.events import AcquisitionEvent, GeometryEvent, ImageEvent, PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

IMAGE_FOLDER = "UltrasoundImages"
NS_PER_MS = 1_000_000

T_PROBE_IMAGE = from_euler_xyz_deg(
    np.array([26.44694442, -0.52572229, 128.00100047]),
    np.array([92.48865621, -0.46874914, 179.2277322]),
)
"""Pose of the image's top left corner on the tracked body (published with the recordings)."""

_COLUMNS = ("timestamp", "space_factor", "x", "y", "z", "euler_x", "euler_y", "euler_z")


@dataclass(frozen=True, eq=False)
class LegRecording:
    """A tracked sweep over a leg; images are read from disk one by one.

    Attributes:
        folder: Where it lies.
        stamps_ns: Time of each image.
        poses: ``T_world_probe`` of each image, the world being the CT frame.
        geometry: Geometry of all images.
        T_probe_transducer: Pose of the array face on the tracked body.
        without_image: Rows of the table whose image is missing.
    """

    folder: Path
    stamps_ns: tuple[int, ...]
    poses: tuple[Float64[np.ndarray, "4 4"], ...]
    geometry: ProbeGeometry
    T_probe_transducer: Float64[np.ndarray, "4 4"]
    without_image: int

    def image(self, number: int) -> UInt8[np.ndarray, "rows columns"]:
        """Read one image."""
        return _read_image(_image_path(self.folder, self.stamps_ns[number]), self.geometry.shape)

    def tracked_frames(self) -> Iterator[TrackedFrame]:
        """Yield the images with their poses."""
        for number, (stamp_ns, pose) in enumerate(zip(self.stamps_ns, self.poses, strict=True)):
            T = pose @ self.T_probe_transducer
            yield TrackedFrame(stamp_ns, self.image(number), T, self.geometry)

    def events(self) -> Iterator[AcquisitionEvent]:
        """Yield the acquisition in time order."""
        start_ns = self.stamps_ns[0]
        T = self.T_probe_transducer
        yield PoseEvent(start_ns, T, parent="probe", child="transducer", static=True)
        yield GeometryEvent(start_ns, self.geometry)
        for number, (stamp_ns, pose) in enumerate(zip(self.stamps_ns, self.poses, strict=True)):
            yield PoseEvent(stamp_ns, pose)
            yield ImageEvent(stamp_ns, self.image(number))


def read_leg_recording(folder: Path | str) -> LegRecording:
    """Read the table of a leg recording and the size of its images.

    Args:
        folder: Holds one table of poses (``*.csv``) and the folder of PNG images.

    Raises:
        InputError: The table or the images are missing, a value is not a number, or the images'
            scale changes.
    """
    folder = Path(folder)
    table = _table(folder)
    rows = _read_rows(table)
    # The images are named by their time in ms.
    present = [row for row in rows if _image_path(folder, _stamp_ns(row)).is_file()]
    if not present:
        raise InputError(
            f"{folder / IMAGE_FOLDER} holds none of the {len(rows)} images that {table.name} names"
        )
    scales = sorted({row["space_factor"] for row in present})
    if len(scales) != 1 or scales[0] <= 0:
        raise InputError(f"{table}: space_factor is {scales}; expected one value above 0")
    height_px, width_px = _read_image(_image_path(folder, _stamp_ns(present[0]))).shape
    width_mm, depth_mm = width_px * scales[0], height_px * scales[0]
    # From the image's top left corner to the middle of its top edge, where the array's face is.
    T_image_transducer = make_rigid(np.eye(3), np.array([width_mm / 2.0, 0.0, 0.0]))
    return LegRecording(
        folder=folder,
        stamps_ns=tuple(_stamp_ns(row) for row in present),
        poses=tuple(_pose(row) for row in present),
        geometry=ProbeGeometry.linear(width_mm, depth_mm, width_px, height_px),
        T_probe_transducer=T_PROBE_IMAGE @ T_image_transducer,
        without_image=len(rows) - len(present),
    )


def _table(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise InputError(f"{folder}: expected one table of poses (*.csv), found {found}")
    return tables[0]


def _read_rows(table: Path) -> list[dict[str, float]]:
    try:
        text = table.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as a table: {error}") from error
    with StringIO(text, newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{table}: the columns {', '.join(missing)} are missing")
        rows = []
        for number, row in enumerate(reader, start=2):
            try:
                values = {name: float(row[name]) for name in _COLUMNS}
            except (TypeError, ValueError) as error:
                raise InputError(f"{table}, line {number}: {error}; expected numbers") from error
            if not np.all(np.isfinite(list(values.values()))):
                raise InputError(f"{table}, line {number}: {values}; expected finite numbers")
            rows.append(values)
    return sorted(rows, key=lambda values: values["timestamp"])


def _pose(row: dict[str, float]) -> Float64[np.ndarray, "4 4"]:
    translation_mm = np.array([row["x"], row["y"], row["z"]])
    return from_euler_xyz_deg(
        translation_mm, np.array([row["euler_x"], row["euler_y"], row["euler_z"]])
    )


def _stamp_ns(row: dict[str, float]) -> int:
    return round(row["timestamp"] * NS_PER_MS)


def _image_path(folder: Path, stamp_ns: int) -> Path:
    return folder / IMAGE_FOLDER / f"{stamp_ns // NS_PER_MS}.png"


def _read_image(path: Path, shape: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w"]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise InputError(f"{path} is not an image that can be read; copy it again")
    if shape is not None and image.shape != shape:
        raise InputError(f"{path} has {image.shape} rows and columns, the first image {shape}")
    return np.asarray(image, dtype=np.uint8)
