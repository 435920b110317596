"""Measured beside expected images, before and after a registration."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

_GAP_PX = 8
_BAR_PX = 26
_TEXT_GREY = 230


def overlay(
    measured: UInt8[np.ndarray, "rows columns"], expected: UInt8[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return measured in orange and expected in blue: grey where the two agree."""
    warm, cold = measured.astype(np.uint16), expected.astype(np.uint16)
    return np.stack([warm, (warm + cold) // 2, cold], axis=-1).astype(np.uint8)


def panel_figure(
    rows: Sequence[Sequence[tuple[str, UInt8[np.ndarray, "..."]]]],
) -> UInt8[np.ndarray, "height width 3"]:
    """Return grey or RGB pictures in rows, each under its title (RGB); all of one size."""
    drawn = [np.concatenate([_panel(title, image) for title, image in row], axis=1) for row in rows]
    return np.concatenate(drawn)


def _panel(
    title: str, image: UInt8[np.ndarray, "rows columns *channels"]
) -> UInt8[np.ndarray, "h w 3"]:
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
    framed = np.pad(colour, ((_BAR_PX, _GAP_PX), (_GAP_PX, _GAP_PX), (0, 0)))
    canvas = np.ascontiguousarray(framed)
    cv2.putText(
        canvas,
        title,
        (_GAP_PX, _BAR_PX - 9),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.5,
        (_TEXT_GREY,) * 3,
        1,
        cv2.LINE_AA,
    )
    return canvas
