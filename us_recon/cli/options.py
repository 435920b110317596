"""Command line options made from the fields of a settings dataclass."""

import argparse
from dataclasses import fields
from typing import Any, TypeVar

from us_recon.settings import from_mapping

T = TypeVar("T")


def add_settings(parser: argparse.ArgumentParser, cls: type[Any], title: str) -> None:
    """Add one option per field, ``--spacing-mm`` for ``spacing_mm``, with its help and default."""
    group = parser.add_argument_group(title)
    for item in fields(cls):
        metadata = item.metadata
        unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
        flag = f"--{item.name.replace('_', '-')}"
        help_text = f"{metadata['help']}{unit} Default: {item.default!r}.".replace("%", "%%")
        if isinstance(item.default, bool):
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=help_text
            )
        else:
            group.add_argument(
                flag,
                type=_numbers if isinstance(item.default, tuple) else type(item.default),
                choices=metadata["choices"],
                default=None,
                help=help_text,
                metavar=None if metadata["choices"] else _metavar(item.default),
            )


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _metavar(default: object) -> str:
    return "X,X,..." if isinstance(default, tuple) else type(default).__name__.upper()


def given_settings(parsed: argparse.Namespace, cls: type[Any]) -> dict[str, Any]:
    """Return the fields of `cls` that were given on the command line."""
    values = {item.name: getattr(parsed, item.name, None) for item in fields(cls)}
    return {name: value for name, value in values.items() if value is not None}


def settings_from(parsed: argparse.Namespace, cls: type[T]) -> T:
    """Return the settings that the command line gives; what it does not give is the default.

    Raises:
        ConfigError: A value is out of range.
    """
    return from_mapping(cls, given_settings(parsed, cls))
