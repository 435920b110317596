"""Without ROS 2 everything outside us_recon.ros can be imported and asks for nothing of ROS."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def import_all(folder: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("import_all.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, script, folder],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_nothing_outside_the_ros_folder_imports_ros() -> None:
    done = import_all(ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_an_import_of_ros_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "us_recon" / "imaging").mkdir(parents=True)
    shutil.copy(ROOT / "us_recon" / "__init__.py", tmp_path / "us_recon")
    (tmp_path / "us_recon" / "imaging" / "__init__.py").touch()
    (tmp_path / "us_recon" / "imaging" / "offender.py").write_text("import rclpy.node\n")
    done = import_all(tmp_path)
    assert done.returncode == 1
    assert done.stdout == "rclpy"
    assert "us_recon.imaging.offender: no module named 'rclpy" in done.stderr


def test_an_import_of_ros_that_hides_behind_try_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "us_recon").mkdir()
    shutil.copy(ROOT / "us_recon" / "__init__.py", tmp_path / "us_recon")
    (tmp_path / "us_recon" / "optional.py").write_text(
        "try:\n    from us_recon.msg import ProbeGeometry\nexcept ImportError:\n    pass\n"
    )
    done = import_all(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "us_recon.msg"
