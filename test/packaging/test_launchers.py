"""The commands of setup.cfg exist, and CMake makes its launchers of the same list."""

import ast
import os
import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def console_scripts() -> dict[str, str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].strip().splitlines()
    return dict(line.split(" = ") for line in lines)


def test_the_four_commands_are_there() -> None:
    nodes = ["mri_registration", "occupancy_mapper", "scanning_cell"]
    assert sorted(console_scripts()) == [*nodes, "us-recon"]


@pytest.mark.parametrize(("name", "target"), console_scripts().items())
def test_each_command_names_a_function(name: str, target: str) -> None:
    module, function = target.split(":")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py")
    statements = ast.parse(source.read_text()).body
    defined = [node.name for node in statements if isinstance(node, ast.FunctionDef)]
    assert function in defined, f"{name}: {source} defines {defined}"


def test_cmake_reads_the_same_list() -> None:
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    cmake = (ROOT / "CMakeLists.txt").read_text()
    line_pattern = re.search(r'REGEX "(\^.*\$)"', cmake)
    part_pattern = re.search(r'REGEX MATCH "([^"]*)"', cmake)
    assert line_pattern is not None
    assert part_pattern is not None
    seen = {}
    for line in lines:
        if re.search(line_pattern[1], line):
            parts = re.search(part_pattern[1], line)
            assert parts is not None
            seen[parts[1]] = f"{parts[2]}:{parts[3]}"
    assert seen == console_scripts()


@pytest.mark.ros
def test_the_built_launchers_are_these() -> None:
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    folders = [p / "lib" / "us_recon" for p in prefixes if (p / "lib" / "us_recon").is_dir()]
    if not folders:
        pytest.skip("us_recon is not built here: run `make setup` and `. ./env.sh`")
    assert sorted(f.name for f in folders[0].iterdir()) == sorted(console_scripts())
    for name, target in console_scripts().items():
        module, function = target.split(":")
        assert f"from {module} import {function}\n" in (folders[0] / name).read_text()
        assert os.access(folders[0] / name, os.X_OK)


def test_the_command_answers(tmp_path: Path) -> None:
    config = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        ["us-recon", "--help"], capture_output=True, text=True, env=config, cwd=tmp_path, check=True
    )
    assert "usage: us-recon" in done.stdout
