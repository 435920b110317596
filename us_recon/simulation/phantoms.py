"""Simple phantoms with known figures, for checking the scanner."""
