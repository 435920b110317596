"""Settings from the YAML file that the nodes read too.

The file has ROS 2's form, one section per node: ``name: {ros__parameters: {key: value}}``. A
section may hold the settings of several dataclasses; each key belongs to exactly one of them.
"""

from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import yaml

from us_recon.errors import ConfigError
from us_recon.settings import from_mapping


def load_settings(
    path: Path | None, section: str, *classes: type[Any], ignored: tuple[str, ...] = ()
) -> list[Any]:
    """Read the settings of one section of a parameter file.

    Args:
        path: YAML file; None gives the defaults.
        section: Name of the node whose parameters are read.
        classes: Settings dataclasses that share the section.
        ignored: Keys that belong to the node alone, such as its topics.

    Returns:
        One instance per class, in order.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value is out of range.
    """
    values = dict(_section(path, section)) if path else {}
    for key in ("use_sim_time", *ignored):
        values.pop(key, None)
    owners = {item.name: cls for cls in classes for item in fields(cls)}
    unknown = sorted(set(values) - set(owners))
    if unknown:
        raise ConfigError(
            f"{path}: {section} has no setting {', '.join(map(repr, unknown))}; "
            f"it knows {', '.join(sorted(owners))}"
        )
    return [
        from_mapping(cls, {key: value for key, value in values.items() if owners[key] is cls})
        for cls in classes
    ]


def _section(path: Path, section: str) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected one section per node, such as '{section}:'")
    parameters: dict[str, Any] = {}
    for name in ("/**", section):
        node = content.get(name, {})
        if not isinstance(node, dict) or not isinstance(node.get("ros__parameters", {}), dict):
            raise ConfigError(f"{path}: {name} holds no 'ros__parameters' mapping")
        parameters.update(node.get("ros__parameters", {}))
    return parameters


def parameter_file(sections: Mapping[str, tuple[type[Any], ...]]) -> str:
    """Return a parameter file that holds every setting at its default, with its help.

    Args:
        sections: Settings classes of each node.
    """
    lines: list[str] = []
    for section, classes in sections.items():
        lines += [f"{section}:", "  ros__parameters:"]
        for cls in classes:
            lines += [line for item in fields(cls) for line in _commented(item)]
        lines.append("")
    return "\n".join(lines)


def _commented(item: Field[Any]) -> list[str]:
    metadata = item.metadata
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    low, high = metadata["minimum"], metadata["maximum"]
    limits = [f"from {low}"] * (low is not None) + [f"to {high}"] * (high is not None)
    bounds = f" ({' '.join(limits)})" if limits else ""
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    value = yaml.safe_dump(default, default_flow_style=True).removesuffix("\n...\n").strip()
    return [f"    # {metadata['help']}{unit}{bounds}", f"    {item.name}: {value}"]
