"""Every version stands in constraints.txt, once, and is the one that is installed."""

import re
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def pinned_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def repeated(lines: list[str]) -> set[str]:
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    return {name for name in names if names.count(name) > 1}


def wanted() -> dict[str, list[str]]:
    """Names that setup.cfg asks for: the package's own under "", the others by extra."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = {"": config["options"]["install_requires"].split()}
    for extra, text in config["options.extras_require"].items():
        names[extra] = text.split()
    return names


def closure(names: list[str]) -> dict[str, str]:
    """Name and installed version of the packages and of all that they require here."""
    found: dict[str, str] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        installed = distribution(requirement.name)
        name = canonicalize_name(requirement.name)
        known = name in found
        found[name] = installed.version.split("+")[0]  # +cpu, +cu130: builds of one version
        if known and not requirement.extras:
            continue
        for text in installed.requires or []:
            child = Requirement(text)
            extras = requirement.extras or {""}
            if not child.marker or any(child.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(child)
    return found


def test_each_line_is_one_exact_version() -> None:
    inexact = [line for line in pinned_lines() if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert inexact == []


def test_no_package_is_pinned_twice() -> None:
    assert repeated(pinned_lines()) == set()


def test_a_second_pin_in_another_spelling_is_noticed() -> None:
    assert repeated(["ros-rclpy==9.1.2", "numpy==2.4.6", "ros_rclpy==9.1.1"]) == {"ros-rclpy"}


def test_no_other_file_holds_a_version() -> None:
    files = [ROOT / name for name in ("setup.cfg", "setup.py", "pyproject.toml", "Makefile")]
    files += sorted((ROOT / "scripts").iterdir())
    pins = {file.name: re.findall(r"[\w.\]-]+==\d[\w.]*", file.read_text()) for file in files}
    assert {name: found for name, found in pins.items() if found} == {}


def test_setup_cfg_names_packages_without_versions() -> None:
    assert [n for names in wanted().values() for n in names if not re.fullmatch(r"[\w-]+", n)] == []


@pytest.mark.parametrize("extra", ["", "dev", "ros"])
def test_what_is_installed_is_what_is_pinned(extra: str) -> None:
    if extra == "ros":
        try:
            distribution("ros-rclpy")
        except PackageNotFoundError:
            pytest.skip("ROS 2 comes from a distribution here, not from the package index")
    pins = dict(line.split("==") for line in pinned_lines())
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    installed = closure(wanted()[extra])
    assert len(installed) >= len(wanted()[extra])
    assert {n: (v, pins.get(n)) for n, v in installed.items() if pins.get(n) != v} == {}
