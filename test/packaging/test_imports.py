"""What is heavy is loaded where it is needed alone."""

import subprocess
import sys

import pytest

MODULES = ["us_recon.occupancy.mapper", "us_recon.ros.nodes.occupancy_mapper"]


@pytest.mark.parametrize("module", MODULES)
def test_a_mapper_does_without_pytorch(module: str) -> None:
    if ".ros." in module:
        pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")
    code = f"import sys, {module}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[-1] == "False"


def test_one_thread_holds_for_pytorch_imported_later() -> None:
    code = (
        "from us_recon.pipeline.threads import use_one_thread; use_one_thread(); "
        "import torch; print(torch.get_num_threads())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[-1] == "1"
