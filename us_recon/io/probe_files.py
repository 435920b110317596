"""The geometry of a probe from a JSON file or from a bag."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from us_recon.errors import InputError
from us_recon.imaging.events import GeometryEvent
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io.bag.reader import BagReader
from us_recon.io.bag.topics import DEFAULT_TOPICS, TopicNames


def read_probe(path: Path, topics: TopicNames = DEFAULT_TOPICS) -> ProbeGeometry:
    """Read a probe from a JSON object of the fields of `ProbeGeometry`, or the first one of a bag.

    Raises:
        InputError: The file cannot be read, a field is unknown, missing or of the wrong type, or
            the values cannot be those of a probe; a bag without a geometry.
    """
    if path.is_dir():
        return _of_bag(path, topics)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as the JSON file of a probe: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds {type(content).__name__}; expected an object of fields")
    return _of_fields(path, content)


def _of_fields(path: Path, content: Mapping[str, Any]) -> ProbeGeometry:
    known = {item.name: item for item in fields(ProbeGeometry)}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise InputError(
            f"{path}: a probe has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}"
        )
    missing = [name for name in known if known[name].default is MISSING and name not in content]
    if missing:
        raise InputError(f"{path}: the probe lacks {', '.join(missing)}")
    values = {name: _checked(path, name, known[name].type, content[name]) for name in content}
    try:
        return ProbeGeometry(**values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _checked(path: Path, name: str, wanted: Any, value: Any) -> Any:
    if wanted is ProbeKind:
        if value not in tuple(ProbeKind):
            raise InputError(f"{path}: kind is {value!r}; expected {', '.join(ProbeKind)}")
        return ProbeKind(value)
    accepted = (int, float) if wanted is float else wanted
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise InputError(f"{path}: {name} is {value!r}; expected {wanted.__name__}")
    return wanted(value)


def _of_bag(path: Path, topics: TopicNames) -> ProbeGeometry:
    with BagReader(path, topics) as bag:
        for event in bag.events():
            if isinstance(event, GeometryEvent):
                return event.geometry
    raise InputError(f"{path} holds no probe geometry; expected one on {topics.geometry_topic!r}")
