"""The runs: frames in, maps and registrations out, the same objects online and offline."""
