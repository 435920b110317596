"""Keep fitted settings inside the ranges that the settings allow."""

from dataclasses import fields
from typing import Any

from us_recon.acoustics.settings import RenderSettings
from us_recon.settings import overridden


def within_bounds(settings: RenderSettings) -> RenderSettings:
    """Return settings whose numbers are moved to the nearest allowed ones.

    Raises:
        ConfigError: A number is not finite.
    """
    values: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if not isinstance(item.default, float):
            continue
        low, high = item.metadata["minimum"], item.metadata["maximum"]
        value = value if low is None else max(low, value)
        values[item.name] = value if high is None else min(high, value)
    return overridden(settings, values)
