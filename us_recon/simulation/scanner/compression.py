"""Tissue that the probe compresses.

The face pushes what lies before it along the depth axis. The push is whole at the face and fades
exponentially below it and to its sides. Tissue would also give way sideways, as it hardly loses
volume; that part is neglected, and so is the fading in elevation: within the thin imaged slice
both are small beside the push.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from us_recon.imaging.probe import ProbeKind
from us_recon.settings import setting
from us_recon.simulation.scanner.beam import Beam

ITERATIONS = 4  # of Newton's method; the error is below 1 um for all allowed settings


@dataclass(frozen=True)
class CompressionSettings:
    """How the probe deforms the tissue."""

    compression_mm: float = setting(
        0.0,
        "How far the face pushes the tissue; let the sweep press as far.",
        unit="mm",
        minimum=0.0,
        maximum=20.0,
    )
    compression_depth_mm: float = setting(
        30.0, "Depth over which the push fades to 1/e.", unit="mm", minimum=10.0
    )


@dataclass(frozen=True, eq=False)
class Compression:
    """The deformation in the transducer frame, from undeformed tissue to the image and back.

    Attributes:
        beam: Probe; its face pushes.
        settings: Size and reach of the push.
    """

    beam: Beam
    settings: CompressionSettings

    def tissue_mm(self, image_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return where tissue that is seen at points lay before: ``y' = y - push(x, y)``."""
        if self.settings.compression_mm == 0.0:
            return image_mm
        tissue_mm = image_mm.copy()
        tissue_mm[:, 1] -= self._push_mm(image_mm[:, 0], image_mm[:, 1])[0]
        return tissue_mm

    def displacement_mm(self, tissue_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Return how far tissue is moved that lay at points of the undeformed patient.

        It solves ``push = push(x, y' + push)`` by Newton's method. The solution is unique, as the
        push falls with depth.

        Args:
            tissue_mm: Points in the transducer frame.
        """
        moved_mm = np.zeros_like(tissue_mm)
        if self.settings.compression_mm == 0.0:
            return moved_mm
        x, y = tissue_mm[:, 0], tissue_mm[:, 1]
        push = np.zeros_like(y)
        for _ in range(ITERATIONS):
            there, slope = self._push_mm(x, y + push)
            push += (there - push) / (1.0 + slope)
        moved_mm[:, 1] = push
        return moved_mm

    def _push_mm(
        self, x_mm: Float[np.ndarray, " n"], y_mm: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return the push at points of the image and how fast it falls with y."""
        fade_mm = self.settings.compression_depth_mm
        below_mm, growth = self._below_face_mm(x_mm, y_mm)
        beside = np.maximum(np.abs(x_mm) - self.beam.face_half_width_mm, 0.0) / fade_mm
        faded = np.exp(-np.maximum(below_mm, 0.0) / fade_mm - 0.5 * beside**2)
        push = self.settings.compression_mm * faded
        return push, np.where(below_mm > 0, push * growth / fade_mm, 0.0).astype(push.dtype)

    def _below_face_mm(
        self, x_mm: Float[np.ndarray, " n"], y_mm: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Return the depth below the face, which is flat or round, and its growth with y."""
        if self.beam.geometry.kind != ProbeKind.CONVEX:
            return y_mm, np.ones_like(y_mm)
        below_apex = y_mm + self.beam.geometry.radius_mm
        reach = np.hypot(x_mm, below_apex)
        return reach - self.beam.geometry.radius_mm, below_apex / np.maximum(reach, 1e-3)
