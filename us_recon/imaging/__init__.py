"""Probe geometry, tracked frames, scan conversion, volumes and what assembles them."""
