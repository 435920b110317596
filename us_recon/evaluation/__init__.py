"""How good a result is, and pictures and reports of it."""
