"""Split PLUS's affine ``ImageToProbe`` into a rigid pose of the array and a pixel geometry."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from us_recon.errors import InputError
from us_recon.geometry.rigid import make_rigid
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io.plus.config import ScanConversion


@dataclass(frozen=True, eq=False)
class ImageCalibration:
    """Where the image lies on the tracked probe.

    Attributes:
        T_probe_transducer: Rigid pose of the array face on the probe's tracked body.
        geometry: Pixels in the frame of the array face.
    """

    T_probe_transducer: Float64[np.ndarray, "4 4"]
    geometry: ProbeGeometry


def split_image_to_probe(
    T_probe_image: Float64[np.ndarray, "4 4"],
    image_size_px: tuple[int, int],
    scan_conversion: ScanConversion | None = None,
) -> ImageCalibration:
    """Split an affine calibration exactly, on the image plane.

    ``T_probe_transducer @ geometry.T_transducer_image`` equals `T_probe_image` for every pixel
    ``(column, row, 0, 1)``. The transducer's x axis is the direction of the columns, its y axis
    the part of the rows' direction at right angles to it, z = x cross y; a shear between the two,
    which calibrations fitted as affine maps have, becomes the geometry's `skew_mm`. The third
    column of `T_probe_image` says nothing about pixels and is not used.

    Args:
        T_probe_image: PLUS's ImageToProbe, mm per pixel in its columns.
        image_size_px: Columns and rows of the images.
        scan_conversion: Layout of the beams; without it the image is that of a linear array
            whose face is the whole top edge.

    Raises:
        InputError: The columns are parallel or zero, or the layout is of another image size.
    """
    along_x, along_y = T_probe_image[:3, 0], T_probe_image[:3, 1]
    spacing_x_mm = float(np.linalg.norm(along_x))
    area = float(np.linalg.norm(np.cross(along_x, along_y)))
    if not spacing_x_mm > 0 or not area > 1e-6 * spacing_x_mm * np.linalg.norm(along_y):
        raise InputError(
            f"ImageToProbe maps columns along {along_x.tolist()} and rows along "
            f"{along_y.tolist()}; expected two different directions"
        )
    x = along_x / spacing_x_mm
    skew_mm = float(along_y @ x)
    across = along_y - skew_mm * x
    spacing_y_mm = float(np.linalg.norm(across))
    y = across / spacing_y_mm
    geometry = _geometry(image_size_px, spacing_x_mm, spacing_y_mm, skew_mm, scan_conversion)
    face = np.array([geometry.origin_x_px, geometry.origin_y_px, 0.0, 1.0])
    rotation = np.stack([x, y, np.cross(x, y)], axis=1)
    return ImageCalibration(make_rigid(rotation, (T_probe_image @ face)[:3]), geometry)


def _geometry(
    image_size_px: tuple[int, int],
    spacing_x_mm: float,
    spacing_y_mm: float,
    skew_mm: float,
    layout: ScanConversion | None,
) -> ProbeGeometry:
    width_px, height_px = image_size_px
    if layout is None:
        return ProbeGeometry(
            kind=ProbeKind.LINEAR,
            width_px=width_px,
            height_px=height_px,
            spacing_x_mm=spacing_x_mm,
            spacing_y_mm=spacing_y_mm,
            skew_mm=skew_mm,
            origin_x_px=(width_px - 1) / 2.0,
            origin_y_px=-0.5,
            # A sheared image leans out of its own aperture; the aperture is made to hold it all.
            width_mm=width_px * spacing_x_mm + 2.0 * abs(skew_mm) * height_px,
            depth_mm=height_px * spacing_y_mm,
        )
    if layout.image_size_px != image_size_px:
        raise InputError(
            f"ScanConversion {layout.name!r} describes images of {layout.image_size_px} pixels, "
            f"the sequence has {image_size_px}; give the configuration of this recording, or "
            "ignore its layout (--whole-image)"
        )
    # PLUS counts the centre's column from the outer edge of the first column.
    origin_x_px, origin_y_px = layout.centre_px[0] - 0.5, layout.centre_px[1]
    below_face_mm = (height_px - 0.5 - origin_y_px) * spacing_y_mm
    return ProbeGeometry(
        kind=ProbeKind.CONVEX if layout.curvilinear else ProbeKind.LINEAR,
        width_px=width_px,
        height_px=height_px,
        spacing_x_mm=spacing_x_mm,
        spacing_y_mm=spacing_y_mm,
        skew_mm=skew_mm,
        origin_x_px=origin_x_px,
        origin_y_px=origin_y_px,
        depth_mm=min(layout.depth_mm, below_face_mm),
        width_mm=layout.width_mm,
        radius_mm=layout.radii_mm[0],
        angle_min_deg=layout.angles_deg[0],
        angle_max_deg=layout.angles_deg[1],
    )
