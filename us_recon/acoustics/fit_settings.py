"""Settings of the fit of a device."""

from dataclasses import dataclass

from us_recon.settings import setting


@dataclass(frozen=True)
class DeviceFitSettings:
    """How a device is fitted. The deviations are what is thought likely before the recording."""

    max_frames: int = setting(
        8, "Frames that are used, spread over the recording.", minimum=1, maximum=200
    )
    cell_mm: float = setting(
        2.5, "Side of the cells in which levels are compared.", unit="mm", minimum=0.5, maximum=20.0
    )
    near_field_mm: float = setting(
        2.0, "Depth below the array face that is ignored.", unit="mm", minimum=0.0
    )
    outlier_db: float = setting(
        4.0, "Difference from which on a cell counts less.", unit="dB", minimum=0.1, maximum=100.0
    )
    iterations: int = setting(40, "Steps of the fit of levels.", minimum=1, maximum=1000)
    fit_resolution: bool = setting(True, "Whether pulse and beam are fitted, from speckle.")
    fit_attenuation: bool = setting(True, "Whether the attenuation's scale is fitted.")
    slider_deviation_db: float = setting(
        6.0, "Likely size of the time gain's sliders.", unit="dB", minimum=0.01, maximum=100.0
    )
    attenuation_deviation: float = setting(
        0.3, "Likely relative error of the attenuation.", minimum=0.001, maximum=10.0
    )
    level_deviation_db: float = setting(
        20.0, "Likely error of the levels of edges and noise.", unit="dB", minimum=0.1,
        maximum=200.0,
    )  # fmt: skip
