"""Virtual patients and a virtual scanning cell, with physics of its own."""
