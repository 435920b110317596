"""The `us-recon` command; the only place that prints."""
