"""Settings as frozen dataclasses whose fields carry help text, unit and range.

A default is written once, in the dataclass. YAML files, ROS parameters and command line options
are all derived from the fields, so they cannot disagree.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from types import MappingProxyType
from typing import Any, TypeVar

from us_recon.errors import ConfigError

T = TypeVar("T")
Value = bool | int | float | str | tuple[float, ...]

_TRUTH_VALUES = {"true": True, "yes": True, "false": False, "no": False}
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Declare one field of a settings dataclass.

    Args:
        default: The value used when nobody gives one.
        help: One sentence for the user.
        unit: Unit of the value, empty where it has none.
        minimum: Smallest value allowed, inclusive.
        maximum: Largest value allowed, inclusive.
        choices: The allowed strings, where the value is one of a few.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "unit": unit,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
        },
    )


def from_mapping(cls: type[T], values: Mapping[str, Any] = _EMPTY) -> T:
    """Build a settings dataclass from plain values and check each of them.

    Args:
        cls: The settings dataclass.
        values: Field names and values; fields that are absent keep their default.

    Raises:
        ConfigError: An unknown name, a wrong type or a value out of range.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"{cls.__name__} has no setting {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(sorted(known))}"
        )
    return cls(**{name: checked(known[name], value) for name, value in values.items()})


def checked(item: Field[Any], value: Any) -> Value:
    """Return `value` in the field's own type, or say why it cannot be used.

    Raises:
        ConfigError: Wrong type, not finite, out of range or not one of the choices.
    """
    value = _as_type_of(item, value)
    if isinstance(value, tuple):
        return value
    choices = item.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"{item.name} is {value!r}; expected one of {', '.join(choices)}")
    low, high = item.metadata.get("minimum"), item.metadata.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        unit = f" {item.metadata['unit']}" if item.metadata.get("unit") else ""
        raise ConfigError(
            f"{item.name} is {value}{unit}; expected a value from "
            f"{'-inf' if low is None else low} to {'inf' if high is None else high}{unit}"
        )
    return value


def _as_type_of(item: Field[Any], value: Any) -> Any:
    if item.default is MISSING:
        return value
    wanted = type(item.default)
    if wanted is tuple:
        return _numbers(item.name, len(item.default), value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{item.name} is {value}; expected a finite number")
        return float(value)
    if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(
        f"{item.name} is {value!r} ({type(value).__name__}); expected {wanted.__name__}"
    )


def _numbers(name: str, length: int, value: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {value!r}; expected {length} numbers") from error
    if len(numbers) != length or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{name} is {value!r}; expected {length} finite numbers")
    return numbers


def value_from_text(item: Field[Any], text: str) -> Any:
    """Return a value written as text in the type of its field; `checked` looks at its range.

    Raises:
        ConfigError: The text says nothing of that type.
    """
    wanted: Any = type(item.default)
    try:
        if wanted is bool:
            return _TRUTH_VALUES[text.lower()]
        if wanted is tuple:
            return tuple(float(number) for number in text.replace(",", " ").split())
        return wanted(text)
    except (KeyError, ValueError) as error:
        what = {bool: "true or false", int: "a whole number", float: "a number"}
        raise ConfigError(
            f"{item.name} is {text!r}; expected {what.get(wanted, 'numbers')}"
        ) from error


def overridden(settings: T, values: Mapping[str, Any]) -> T:
    """Return settings with some values replaced, each of them checked.

    Raises:
        ConfigError: An unknown name, a wrong type or a value out of range.
    """
    current = {item.name: getattr(settings, item.name) for item in fields(settings)}  # type: ignore[arg-type]
    return from_mapping(type(settings), {**current, **values})


def valid(settings: T) -> T:
    """Return settings that were built in code, with each value checked as a file's would be.

    Raises:
        ConfigError: A wrong type or a value out of range.
    """
    return overridden(settings, {})
