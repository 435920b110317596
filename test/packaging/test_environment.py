"""env.sh gives any shell what it needs to run us_recon."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENV = ROOT / "env.sh"

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(not ENV.exists(), reason="not set up here: run `make setup`"),
]

IMPORTS = "import rclpy, us_recon, us_recon.msg, tf2_msgs.msg; print(us_recon.__file__)"


def in_shell(shell: str, commands: str) -> list[str]:
    done = subprocess.run(
        [shell, "-eu", "-c", commands],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_messages_and_rclpy_can_be_imported(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    lines = in_shell(shell, f". '{ENV}'; python -c '{IMPORTS}'; command -v us-recon")
    assert lines == [str(ROOT / "us_recon" / "__init__.py"), str(ROOT / ".venv/bin/us-recon")]


def test_sourcing_twice_changes_nothing() -> None:
    show = 'echo "$PATH"; echo "$PYTHONPATH"; echo "$AMENT_PREFIX_PATH"; echo "$-"'
    once = in_shell("sh", f". '{ENV}'; {show}")
    assert in_shell("sh", f". '{ENV}'; . '{ENV}'; {show}") == once


def test_the_profile_of_fast_dds_exists_and_holds_many_images() -> None:
    (profile,) = in_shell("sh", f". '{ENV}'; echo \"$FASTDDS_DEFAULT_PROFILES_FILE\"")
    sizes = {"fastdds.xml": 32 * 1024**2, "fastdds_small.xml": 4 * 1024**2}
    size = sizes[Path(profile).name]
    assert f"<segment_size>{size}</segment_size>" in Path(profile).read_text()


def test_tf2_msgs_has_the_official_type_hash() -> None:
    description = ROOT / ".ros/install/tf2_msgs/share/tf2_msgs/msg/TFMessage.json"
    if not description.exists():
        pytest.skip("tf2_msgs comes from a ROS 2 distribution here")
    hashes = json.loads(description.read_text())["type_hashes"]
    official = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    assert {"type_name": "tf2_msgs/msg/TFMessage", "hash_string": official} in hashes
