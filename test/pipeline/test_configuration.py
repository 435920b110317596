from dataclasses import dataclass
from pathlib import Path

import pytest

from us_recon.errors import ConfigError
from us_recon.pipeline.configuration import load_settings
from us_recon.settings import setting


@dataclass(frozen=True)
class First:
    spacing_mm: float = setting(1.0, "Voxel edge.", unit="mm", minimum=0.1)


@dataclass(frozen=True)
class Second:
    name: str = setting("a", "Name.")


def write(folder: Path, text: str) -> Path:
    path = folder / "parameters.yaml"
    path.write_text(text)
    return path


def test_a_section_is_split_between_its_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "/**: {ros__parameters: {name: b, use_sim_time: true}}\n"
        "node: {ros__parameters: {spacing_mm: 2}}\n"
        "other: {ros__parameters: {anything: 1}}\n",
    )
    assert load_settings(path, "node", First, Second) == [First(2.0), Second("b")]
    assert load_settings(None, "node", First) == [First()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node: {ros__parameters: {spacing: 2}}", "no setting 'spacing'; it knows spacing_mm"),
        ("node: {ros__parameters: {spacing_mm: 0}}", "spacing_mm is 0.0 mm"),
        ("node: [1]", "no 'ros__parameters' mapping"),
        ("- 1", "one section per node"),
        ("node: {", "cannot be read as YAML"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, text), "node", First)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_settings(tmp_path / "none.yaml", "node", First)
