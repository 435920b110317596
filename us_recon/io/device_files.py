"""The settings of a fitted scanner as a file: read by the commands and by the nodes."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from us_recon.acoustics.settings import RenderSettings
from us_recon.errors import ConfigError
from us_recon.files import atomic_path
from us_recon.settings import from_mapping


def write_device(path: Path | str, settings: RenderSettings) -> None:
    """Write every field as JSON.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(asdict(settings), indent=1) + "\n")


def read_device(path: Path | str) -> RenderSettings:
    """Read fields of `RenderSettings` from JSON or YAML; what is absent keeps its default.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value is out of range.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as JSON or YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{path} holds {type(content).__name__}; expected settings of the renderer by name, as "
            "`us-recon fit-device` writes them"
        )
    try:
        return from_mapping(RenderSettings, content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
