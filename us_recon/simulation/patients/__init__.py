"""Virtual patients: anatomy, acoustics and MRI."""
