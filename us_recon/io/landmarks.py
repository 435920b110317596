"""Landmark pairs in MNI tag point files (``.tag``)."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from us_recon.errors import InputError
from us_recon.files import atomic_path


def read_tag_pairs(
    path: Path | str,
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n 3"]]:
    """Read corresponding points of two volumes, in mm of each volume's world.

    Format: "MNI Tag Point File" with two volumes; each line of points holds x y z in the first,
    x y z in the second, then optional weights and a quoted label.

    Returns:
        Points in the first and in the second volume.

    Raises:
        InputError: Not a tag file of two volumes, or a line does not hold six numbers.
    """
    points = _read(Path(path), ("2",))
    return points[:, :3], points[:, 3:]


def read_tag_points(path: Path | str) -> Float64[np.ndarray, "n 3"]:
    """Read the points of the first volume of a tag file of one or two volumes, in mm.

    Raises:
        InputError: Not a tag file, or a line does not hold the numbers of its volumes.
    """
    return _read(Path(path), ("1", "2"))[:, :3]


def _read(path: Path, allowed: tuple[str, ...]) -> Float64[np.ndarray, "n columns"]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a tag file: {error}") from error
    if not text.startswith("MNI Tag Point File"):
        raise InputError(f"{path} is not an MNI tag point file: it begins with {text[:30]!r}")
    text = re.sub(r'"[^"]*"', "", text)  # labels, which may hold any character
    volumes = re.search(r"Volumes\s*=\s*(\d+)\s*;", text)
    points = re.search(r"Points\s*=([^;]*);?", text)
    if volumes is None or points is None or volumes[1] not in allowed:
        expected = " or ".join(f"'Volumes = {count};'" for count in allowed)
        raise InputError(f"{path}: expected {expected} and 'Points = ...;'")
    count, word = (3, "three") if volumes[1] == "1" else (6, "six")
    rows = []
    for line in points[1].splitlines():
        fields = line.partition("%")[0].split()
        if not fields:
            continue
        try:
            rows.append([float(value) for value in fields[:count]])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != count or not np.all(np.isfinite(rows[-1])):
            raise InputError(f"{path}: {line.strip()!r} does not begin with {word} numbers")
    if not rows:
        raise InputError(f"{path} holds no point")
    return np.array(rows)


def write_tag_pairs(
    path: Path,
    first_mm: Float64[np.ndarray, "n 3"],
    second_mm: Float64[np.ndarray, "n 3"],
    comment: str = "",
) -> None:
    """Write corresponding points of two volumes so that `read_tag_pairs` reads them.

    Args:
        path: The file; it is written whole or not at all.
        first_mm: Points in the world of the first volume.
        second_mm: The same points in the world of the second.
        comment: One line on what the two are.
    """
    pairs = np.hstack([first_mm, second_mm])
    lines = [
        " ".join(f"{value:.4f}" for value in pair) + f' "{number}"'
        for number, pair in enumerate(pairs, start=1)
    ]
    header = ["MNI Tag Point File", "Volumes = 2;", f"% {comment}", "", "Points ="]
    with atomic_path(path) as partial:
        partial.write_text("\n".join([*header, *lines]) + ";\n")
