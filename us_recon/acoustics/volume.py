"""The acoustic properties of a patient on a voxel grid: what the renderer looks up."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from us_recon.errors import InputError


@dataclass(frozen=True, eq=False)
class AcousticVolume:
    """Impedance, attenuation and backscatter of every voxel.

    All tensors share shape, type and device; gradients may flow through them, so that a tissue map
    can be learned by rendering.

    Attributes:
        impedance_mrayl: Characteristic impedance in MRayl (1e6 kg/m2/s), above 0. Where nothing is
            known it continues what lies next to it, so that the end of the volume makes no echo.
        attenuation_db_cm_mhz: One-way attenuation in dB/cm/MHz, 0 or more.
        scatter: Root mean square amplitude of diffuse backscatter, relative to grey matter, 0 or
            more.
        inside: 1 where the tissue is known, 0 where it is not; between 0 and 1 in part.
        T_space_index: Affine from voxel index to millimetres, those of the image that the volume
            was made from.
    """

    impedance_mrayl: Float[Tensor, "i j k"]
    attenuation_db_cm_mhz: Float[Tensor, "i j k"]
    scatter: Float[Tensor, "i j k"]
    inside: Float[Tensor, "i j k"]
    T_space_index: Float64[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        shape = self.impedance_mrayl.shape
        for name, tensor in self._tensors():
            if tensor.shape != shape:
                raise InputError(
                    f"acoustic volume: {name} has shape {tuple(tensor.shape)}; expected "
                    f"{tuple(shape)} as impedance_mrayl has"
                )
        if min(shape) < 2:
            raise InputError(f"acoustic volume: shape is {tuple(shape)}; expected 2 or more a side")
        least = float(self.impedance_mrayl.detach().min())
        if not least > 0.0:
            raise InputError(
                f"acoustic volume: the least impedance is {least} MRayl; expected more than 0"
            )
        determinant = np.linalg.det(self.T_space_index[:3, :3])
        if not np.isfinite(determinant) or abs(determinant) < 1e-9:
            raise InputError(
                f"acoustic volume: the affine's determinant is {determinant}; expected an "
                "invertible affine"
            )

    @property
    def T_index_space(self) -> Float64[np.ndarray, "4 4"]:
        """Maps homogeneous millimetres to voxel indices."""
        return np.linalg.inv(self.T_space_index)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "AcousticVolume":
        """Return the volume on another device or in another floating-point type."""
        moved: dict[str, Any] = {
            name: tensor.to(device=device, dtype=dtype) for name, tensor in self._tensors()
        }
        return replace(self, **moved)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in values if isinstance(value, Tensor)]
