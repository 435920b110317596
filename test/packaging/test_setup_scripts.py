"""The set-up scripts choose well and say what stops them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARIES = ["libusb-1.0.so.0", "libGL.so.1", "libEGL.so.1", "libX11.so.6", "libgomp.so.1"]
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return an empty checkout with the scripts, and a folder of stand-ins for programs."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(checkout: Path, name: str, lines: str) -> None:
    file = checkout / "bin" / name
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)


def run(
    checkout: Path, script: str, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"} | env
    return subprocess.run(
        ["/bin/sh", checkout / "scripts" / script, *arguments],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )


def test_the_python_named_by_the_user_is_taken(checkout: Path) -> None:
    done = run(checkout, "find_python.sh", PYTHON=sys.executable)
    assert done.stdout.strip() == sys.executable, done.stderr


def test_an_older_python_is_passed_over(checkout: Path) -> None:
    program(checkout, "python3", "exit 1")
    program(checkout, "python3.10", f'exec "{BASE_PYTHON}" "$@"')
    done = run(checkout, "find_python.sh", PYTHON="python3 python3.10")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).exists()


def test_no_fitting_python_is_explained(checkout: Path) -> None:
    done = run(checkout, "find_python.sh", PYTHON="/bin/false")
    assert done.returncode == 1
    assert "no Python 3.11 or 3.12 among: /bin/false" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_sourced_ros_without_a_fitting_python_is_explained(checkout: Path) -> None:
    program(checkout, "python_without_rclpy", f'exec "{BASE_PYTHON}" -I -S "$@"')
    ros = {"ROS_DISTRO": "humble", "AMENT_PREFIX_PATH": "/opt/ros/humble"}
    done = run(checkout, "find_python.sh", PYTHON="python_without_rclpy", **ros)
    assert done.returncode == 1
    assert "that imports the rclpy of the sourced ROS 2 'humble'" in done.stderr


def have_libraries(checkout: Path, names: list[str]) -> None:
    lines = "\n".join(f"\t{name} (libc6,x86-64) => /lib/{name}" for name in names)
    program(checkout, "ldconfig", f"cat <<'END'\n{lines}\nEND")


def test_nothing_is_installed_where_nothing_is_missing(checkout: Path) -> None:
    have_libraries(checkout, LIBRARIES)
    program(checkout, "apt-get", "echo called; exit 1")
    for name in ("cmake", "make", "c++"):
        program(checkout, name, "exit 0")
    done = run(checkout, "system_packages.sh", BASE_PYTHON)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_missing_is_installed_as_root(checkout: Path) -> None:
    have_libraries(checkout, [name for name in LIBRARIES if "usb" not in name])
    program(checkout, "id", "echo 0")
    program(checkout, "apt-get", f'echo "$@" >>"{checkout}/calls"')
    done = run(checkout, "system_packages.sh", BASE_PYTHON)
    assert done.returncode == 0, done.stderr
    calls = (checkout / "calls").read_text().splitlines()
    assert calls[0].startswith("update")
    assert calls[1].startswith("install -y")
    assert "libusb-1.0-0" in calls[1].split()
    assert "libgl1" not in calls[1].split()


def test_sudo_is_used_by_others(checkout: Path) -> None:
    have_libraries(checkout, [])
    program(checkout, "id", "echo 1000")
    program(checkout, "sudo", f'echo "$@" >>"{checkout}/calls"')
    program(checkout, "apt-get", "exit 1")
    done = run(checkout, "system_packages.sh", BASE_PYTHON)
    assert done.returncode == 0, done.stderr
    assert "apt-get install" in (checkout / "calls").read_text()


def test_neither_root_nor_sudo_is_explained(checkout: Path) -> None:
    have_libraries(checkout, [])
    program(checkout, "id", "echo 1000")
    program(checkout, "apt-get", "exit 1")
    for tool in ("cat", "dirname", "grep", "cmake", "make", "c++"):
        (checkout / "bin" / tool).symlink_to(shutil.which(tool) or "/bin/true")
    done = run(checkout, "system_packages.sh", BASE_PYTHON, PATH=str(checkout / "bin"))
    assert done.returncode == 1
    assert "neither root nor a machine with sudo" in done.stderr
    assert "apt-get install libusb-1.0-0" in done.stderr


def test_two_kinds_of_ros_are_not_mixed(checkout: Path) -> None:
    assert run(checkout, "check_kind.sh", "wheels").returncode == 0
    (checkout / ".ros" / "stamps" / "wheels").mkdir(parents=True)
    assert run(checkout, "check_kind.sh", "wheels").returncode == 0
    done = run(checkout, "check_kind.sh", "jazzy")
    assert done.returncode == 1
    assert "make distclean setup" in done.stderr
