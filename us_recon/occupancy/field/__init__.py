"""A neural occupancy field, fitted while scanning (after UltrON)."""
