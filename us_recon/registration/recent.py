"""The newest frames, sampled once each: what a registered pose is followed with."""

from collections import deque

from us_recon.imaging.frame import TrackedFrame
from us_recon.registration.observation import BeamWindow
from us_recon.registration.sampled_frames import SampledFrames
from us_recon.registration.settings import RegistrationSettings

_CLOSEST = 0.4
"""Least time between two frames, as a share of that at which they would fill the window evenly."""


class RecentFrames:
    """Keep the newest frame and a few before it, none older than the settings allow.

    Of frames that come faster than the window needs, the newest takes the place of the one before.
    """

    def __init__(self, settings: RegistrationSettings) -> None:
        """Start empty."""
        span_ns = 1e9 * settings.tracking_span_s
        self._span_ns = round(span_ns)
        self._closest_ns = round(_CLOSEST * span_ns / settings.tracking_frames)
        self.frames: deque[TrackedFrame] = deque(maxlen=settings.tracking_frames)
        """The frames, oldest first."""
        self._sampled = SampledFrames(settings)

    def add(self, frame: TrackedFrame) -> None:
        """Take a frame; one of another probe, or from before the newest one, starts anew."""
        frames = self.frames
        if frames and (frame.geometry != frames[-1].geometry or frame.stamp_ns < self.newest_ns):
            frames.clear()
        elif len(frames) > 1 and self.newest_ns - frames[-2].stamp_ns < self._closest_ns:
            frames.pop()
        while frames and frame.stamp_ns - frames[0].stamp_ns > self._span_ns:
            frames.popleft()
        frames.append(frame)

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest frame; there must be one."""
        return self.frames[-1].stamp_ns

    def observe(self) -> BeamWindow:
        """Return what the frames show; there must be one."""
        return self._sampled.observe(self.frames)
