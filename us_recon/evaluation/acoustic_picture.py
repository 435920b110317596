"""An image beside the acoustic properties made from it, in three planes."""

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from us_recon.acoustics.volume import AcousticVolume
from us_recon.imaging.volume import Volume

INCHES = 2.6  # a panel's side
DPI = 110
PLANES = ("sagittal", "coronal", "axial")


def acoustic_picture(
    image: Volume, acoustic: AcousticVolume, name: str = "image"
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image, impedance, attenuation and backscatter in the three middle planes (RGB).

    Colours are those of soft tissue; bone lies beyond the scales. The planes are those of the grid
    through the middle of what is known; unknown voxels are left white. They are named for axes that
    run roughly along right, anterior and superior.

    Args:
        image: What the properties were made from, on the same grid.
        acoustic: The properties.
        name: Title of the image's column.
    """
    known = acoustic.inside.numpy() > 0.5
    columns = [
        (name, image.data, "gray", _range(image.data[known])),
        ("impedance, MRayl", acoustic.impedance_mrayl.numpy(), "viridis", (1.45, 1.7)),
        ("attenuation, dB/cm/MHz", acoustic.attenuation_db_cm_mhz.numpy(), "magma", (0.0, 1.2)),
        ("backscatter, grey matter = 1", acoustic.scatter.numpy(), "gray", (0.0, 3.0)),
    ]
    middle = [int(np.median(np.flatnonzero(known.any(axis=_others(axis))))) for axis in range(3)]
    figure = Figure(figsize=(INCHES * len(columns), INCHES * 3), layout="constrained")
    axes = figure.subplots(3, len(columns))
    for column, (title, data, colours, (low, high)) in enumerate(columns):
        for row in range(3):
            plane = np.where(known, data, np.nan).take(middle[row], axis=row)
            width_mm, height_mm = np.delete(image.spacing_mm, row)
            panel = axes[row, column]
            shown = panel.imshow(
                plane.T,
                cmap=colours,
                vmin=low,
                vmax=high,
                origin="lower",
                aspect=float(height_mm / width_mm),
                interpolation="nearest",
            )
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                panel.set_title(title, fontsize=9)
            if column == 0:
                panel.set_ylabel(PLANES[_nearest_plane(image, row)], fontsize=9)
        if column > 0:
            bar = figure.colorbar(
                shown, ax=axes[:, column], location="bottom", shrink=0.8, extend="max"
            )
            bar.ax.tick_params(labelsize=7)
    canvas: Any = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _others(axis: int) -> tuple[int, int]:
    first, second = (each for each in range(3) if each != axis)
    return first, second


def _range(values: Float32[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the range of grey, without the few brightest vessels."""
    low, high = np.nanpercentile(values, [1.0, 99.0])
    if high - low < 1e-6:
        return float(low) - 0.5, float(high) + 0.5
    return float(low), float(high)


def _nearest_plane(image: Volume, axis: int) -> int:
    return int(np.argmax(np.abs(image.T_space_index[:3, axis])))
