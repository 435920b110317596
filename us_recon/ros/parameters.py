"""ROS parameters derived from settings dataclasses."""

from dataclasses import Field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from us_recon.errors import ConfigError
from us_recon.settings import from_mapping

T = TypeVar("T")

_UNBOUNDED = 1e12


def declare_settings(node: Node, cls: type[T]) -> T:
    """Declare one read-only parameter per field of a settings dataclass and read them.

    Args:
        node: The node whose parameters (YAML, launch, command line) give the values.
        cls: A dataclass whose fields were made by `us_recon.settings.setting`.

    Raises:
        ConfigError: A value has the wrong type or lies outside its range.
    """
    values = {}
    for item in fields(cls):  # type: ignore[arg-type]
        try:
            values[item.name] = node.declare_parameter(
                item.name, item.default, _descriptor(item)
            ).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"parameter {item.name} of {node.get_name()}: {error}") from error
    return from_mapping(cls, values)


def _descriptor(item: Field[Any]) -> ParameterDescriptor:
    metadata = item.metadata
    unit = f" [{metadata['unit']}]" if metadata.get("unit") else ""
    choices = metadata.get("choices")
    descriptor = ParameterDescriptor(
        description=metadata["help"] + unit,
        additional_constraints=f"one of {', '.join(choices)}" if choices else "",
        read_only=True,
    )
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if low is None and high is None:
        return descriptor
    low, high = -_UNBOUNDED if low is None else low, _UNBOUNDED if high is None else high
    if isinstance(item.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    else:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor
