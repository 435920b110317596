"""Measured figures: each module prints a table and keeps it under `benchmarks/results`."""
