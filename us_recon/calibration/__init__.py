"""Checks of a recording's own calibration: latency of the images, and where the image lies."""
