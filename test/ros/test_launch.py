"""The launch files with the real `ros2 launch`, where a ROS distribution brings it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from us_recon.cli.main import main
from us_recon.occupancy.mesh_files import read_mesh

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("ros2") is None, reason="`ros2 launch` comes with ROS distributions only"
    ),
]
LAUNCH = Path(__file__).parents[2] / "launch"
ENVIRONMENT = {**os.environ, "ROS_DOMAIN_ID": str(21 + 2 * (os.getpid() % 90))}


def launch(*arguments: str, interrupt_after_s: float | None = None) -> str:
    """Run `ros2 launch us_recon` with these arguments and return its output."""
    # A process of its own, not a shell's job: those ignore interrupts.
    process = subprocess.Popen(
        ["ros2", "launch", "us_recon", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=interrupt_after_s or 120.0)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the nodes get it twice
        output, _ = process.communicate(timeout=60.0)
    return output


@pytest.mark.parametrize("file", sorted(path.name for path in LAUNCH.glob("*.launch.py")))
def test_every_argument_is_explained(file: str) -> None:
    output = launch(file, "--show-args")
    assert "Arguments (pass arguments as '<name>:=<value>')" in output
    assert "no description given" not in output


def test_a_replay_gives_the_mesh_of_the_offline_replay(tmp_path: Path, data_dir: Path) -> None:
    bag, live, offline = tmp_path / "leg", tmp_path / "live", tmp_path / "offline"
    main(["convert", "ultrabones", str(data_dir / "ultrabones_leg"), "--out", str(bag)])
    main(["replay", str(bag), "--out", str(offline)])
    output = launch(
        "replay.launch.py", f"bag:={bag}", "rate:=5.0", "rviz:=false", f"output_dir:={live}"
    )
    assert "process has died" not in output, output
    first, second = read_mesh(live / "mesh.ply"), read_mesh(offline / "mesh.ply")
    np.testing.assert_array_equal(first.triangles, second.triangles)
    np.testing.assert_array_equal(first.vertices_mm, second.vertices_mm)


def test_an_interrupted_simulated_cell_keeps_its_map(tmp_path: Path) -> None:
    output = launch(
        "simulated_cell.launch.py",
        "scene:=spine",
        "rviz:=false",
        f"output_dir:={tmp_path}",
        interrupt_after_s=40.0,
    )
    assert "process has died" not in output, output
    assert len(read_mesh(tmp_path / "mesh.ply").triangles) > 100
