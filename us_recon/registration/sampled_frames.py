"""Frames sampled once each, however often they are observed."""

from collections.abc import Sequence

from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.observation import BeamWindow, Sampled, observe, sample_on_grid
from us_recon.registration.settings import RegistrationSettings


class SampledFrames:
    """Remember what frames show on their comparison grid, until they are no longer needed."""

    def __init__(self, settings: RegistrationSettings) -> None:
        """Start empty.

        Args:
            settings: Grid, blur and masks.
        """
        self._settings = settings
        self._sampled: dict[TrackedFrame, Sampled] = {}

    def keep(self, frames: Sequence[TrackedFrame]) -> None:
        """Sample those that are new, forget all others."""
        self._sampled = {
            frame: self._sampled.get(frame) or sample_on_grid(frame, self._settings)
            for frame in frames
        }

    def observe(self, frames: Sequence[TrackedFrame]) -> BeamWindow:
        """Return what frames show, see `observation.observe`; they are kept, and no others."""
        self.keep(frames)
        return observe(frames, self._settings, list(self._sampled.values()))
