"""Errors a user can act on: what was wrong, what was expected, what to do."""


class UsReconError(Exception):
    """Base of every error that the package raises on purpose."""


class InputError(UsReconError):
    """A file, message or argument does not hold what it should."""


class ConfigError(UsReconError):
    """A setting is unknown, of the wrong type, or out of its range."""
