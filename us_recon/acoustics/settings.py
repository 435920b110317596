"""Settings of the renderer, and those of them that belong to the device and can be fitted."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from us_recon.acoustics.propagation import Convention
from us_recon.settings import setting


class EchoMode(StrEnum):
    """How the echoes of interfaces are found."""

    PRIMARY = "primary"
    COUPLED = "coupled"


@dataclass(frozen=True)
class RenderSettings:
    """How the expected image is made, and the device it is made for.

    Levels are relative: an echo of reflection 1 and the backscatter of grey matter at
    `scatter_db` are compared with full brightness, after gain.
    """

    echoes: str = setting(
        "primary",
        "primary: each interface echoes once, with true shadows; coupled: the paper's system",
        choices=tuple(str(mode) for mode in EchoMode),
    )
    convention: str = setting(
        "physical",
        "Sign of the reflection from behind in the coupled system",
        choices=tuple(str(convention) for convention in Convention),
    )
    speckle: bool = setting(False, "Draw speckle; without it the expected mean is drawn")
    seed: int = setting(0, "Speckle pattern", minimum=0)
    grain_mm: float = setting(
        0.25, "Distance of the scatterers that make speckle", unit="mm", minimum=0.02, maximum=5.0
    )
    frequency_mhz: float = setting(
        0.0,
        "Centre frequency; 0 takes the probe's, or 5 where that is unknown",
        unit="MHz",
        minimum=0.0,
        maximum=50.0,
    )
    gain_db: float = setting(25.0, "Gain", unit="dB", minimum=-60.0, maximum=200.0)
    dynamic_range_db: float = setting(
        45.0, "Range from black to white", unit="dB", minimum=10.0, maximum=150.0
    )
    compensation_db_cm_mhz: float = setting(
        0.6,
        "Time gain: one-way attenuation that is made good, about that of soft tissue",
        unit="dB/cm/MHz",
        minimum=0.0,
        maximum=5.0,
    )
    tgc_db_cm: float = setting(
        0.0, "Time gain: further slope over depth", unit="dB/cm", minimum=-20.0, maximum=40.0
    )
    tgc_sliders_db: tuple[float, ...] = setting(
        (0.0,) * 8, "Time gain: sliders, evenly spread over the depth", unit="dB"
    )
    attenuation_scale: float = setting(
        1.0, "Factor on the attenuation of all tissues", minimum=0.0, maximum=10.0
    )
    edge_db: float = setting(
        0.0, "Level of the echoes of interfaces", unit="dB", minimum=-100.0, maximum=100.0
    )
    scatter_db: float = setting(
        -50.0, "Level of grey matter's backscatter", unit="dB", minimum=-150.0, maximum=50.0
    )
    noise_db: float = setting(
        -110.0, "Level of the receiver's noise, before gain", unit="dB", minimum=-200.0, maximum=0.0
    )
    roughness_deg: float = setting(
        35.0,
        "Slope of an interface's facets (Beckmann): larger, and edges stay bright when oblique",
        unit="deg",
        minimum=1.0,
        maximum=80.0,
    )
    pulse_mm: float = setting(
        0.5, "Axial resolution: width of the pulse at half of its height", unit="mm",
        minimum=0.02, maximum=5.0,
    )  # fmt: skip
    beam_mm: float = setting(
        1.2, "Lateral resolution at the focus: width at half of its height", unit="mm",
        minimum=0.02, maximum=20.0,
    )  # fmt: skip
    focus_mm: float = setting(30.0, "Depth of the focus", unit="mm", minimum=1.0, maximum=500.0)
    spread_mm: float = setting(
        25.0, "Distance from the focus at which the beam is wider by the square root of two",
        unit="mm", minimum=1.0, maximum=1000.0,
    )  # fmt: skip
    face_reflection: float = setting(
        0.0, "Reflection of the array's face, which makes repeats; 0 makes none",
        minimum=0.0, maximum=0.9,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class DeviceParameters:
    """The numbers of a device as tensors: the settings of the same names, with gradients.

    Attributes are scalars except `tgc_sliders_db`, which holds one value per slider.
    """

    frequency_mhz: Float[Tensor, ""]
    gain_db: Float[Tensor, ""]
    dynamic_range_db: Float[Tensor, ""]
    compensation_db_cm_mhz: Float[Tensor, ""]
    tgc_db_cm: Float[Tensor, ""]
    tgc_sliders_db: Float[Tensor, " sliders"]
    attenuation_scale: Float[Tensor, ""]
    edge_db: Float[Tensor, ""]
    scatter_db: Float[Tensor, ""]
    noise_db: Float[Tensor, ""]
    roughness_deg: Float[Tensor, ""]
    pulse_mm: Float[Tensor, ""]
    beam_mm: Float[Tensor, ""]
    focus_mm: Float[Tensor, ""]
    spread_mm: Float[Tensor, ""]
    face_reflection: Float[Tensor, ""]


def device_parameters(
    settings: RenderSettings,
    probe_mhz: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> DeviceParameters:
    """Return the settings' numbers as tensors; ask them for gradients to fit a device.

    Args:
        settings: The values.
        probe_mhz: The probe's centre frequency, for settings that leave it open; 0 if unknown.
        dtype: Floating-point type.
        device: Where the tensors live.
    """
    values: dict[str, Any] = {
        field.name: torch.tensor(getattr(settings, field.name), dtype=dtype, device=device)
        for field in fields(DeviceParameters)
    }
    if settings.frequency_mhz == 0.0:
        values["frequency_mhz"] = torch.tensor(
            probe_mhz or UNKNOWN_PROBE_MHZ, dtype=dtype, device=device
        )
    return DeviceParameters(**values)


UNKNOWN_PROBE_MHZ = 5.0
