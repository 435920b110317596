"""The virtual scanner: from the fields of a patient to a B-mode image."""
