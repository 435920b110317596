"""The virtual patients by name, each with the sweep that suits it."""

from collections.abc import Callable

from us_recon.simulation.brain import BrainSettings, VirtualBrain
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scene import Scene
from us_recon.simulation.spine import SpineSettings, VirtualSpine

DEFAULT_SWEEPS = {
    "spine": SweepSettings(sweep="raster", length_mm=70.0, lanes=3, lane_spacing_mm=18.0),
    "brain": SweepSettings(sweep="fan", tilt_deg=28.0),
}

SCENES: dict[str, Callable[[int], Scene]] = {
    "spine": lambda seed: VirtualSpine(SpineSettings.drawn(seed), seed),
    "brain": lambda seed: VirtualBrain(BrainSettings.drawn(seed), seed),
}
