"""Rigid transforms as the command line takes them: six numbers, or a matrix in a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, from_euler_xyz_deg, is_rigid

INITIAL_KEY = "T_world_mri"


def parse_initial(text: str, option: str = "--initial", key: str = INITIAL_KEY) -> Matrix4:
    """Read a rigid transform from six numbers or from a JSON file.

    Args:
        text: ``x,y,z,rx,ry,rz`` in mm and degrees about the fixed axes x, y, z; or ``FILE:KEY``; or
            ``FILE``, whose matrix stands under `key`.
        option: The option it was given to, for messages.
        key: Key that is looked up where none is given.

    Raises:
        InputError: Neither, or not a rigid transform.
    """
    parts = text.split(",")
    if len(parts) == 6:
        try:
            numbers = np.array([float(part) for part in parts])
        except ValueError as error:
            raise InputError(f"{option} is {text!r}; expected six numbers: {error}") from error
        T = from_euler_xyz_deg(numbers[:3], numbers[3:])
    else:
        T = _read_transform(text, option, key)
    if not is_rigid(T):
        raise InputError(f"{option} {text}: {T.tolist()} is not a rigid transform")
    return T


def _read_transform(text: str, option: str, key: str) -> Matrix4:
    path = Path(text)
    if not path.exists() and ":" in text:
        name, key = text.rsplit(":", 1)
        path = Path(name)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{option} {text}: neither x,y,z,rx,ry,rz nor a JSON file that can be read: {error}"
        ) from error
    if not isinstance(content, Mapping) or key not in content:
        known = ", ".join(content) if isinstance(content, Mapping) else type(content).__name__
        raise InputError(f"{path} has no {key!r}; it has {known}")
    try:
        T = np.array(content[key], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {key} is not a matrix of numbers: {error}") from error
    if T.shape != (4, 4):
        raise InputError(f"{path}: {key} has shape {T.shape}; expected a 4x4 matrix")
    return T
