"""A bag played over the middleware gives the mesh that the offline replay gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not in this environment")

from rclpy.parameter import Parameter

from us_recon.cli.main import main
from us_recon.occupancy.mesh_files import read_mesh
from us_recon.ros.nodes.occupancy_mapper import OccupancyMapperNode
from us_recon.ros.player import play_bag

pytestmark = [pytest.mark.ros, pytest.mark.slow]


# A field takes fewer steps with a frame behind which others wait, but never less than one.
@pytest.mark.parametrize("settings", [{"method": "tsdf"}, {"steps_per_frame": 1}], ids=str)
def test_the_leg_played_live_and_replayed_offline_give_the_same_mesh(
    settings: dict[str, Any], graph: Any, tmp_path: Path, data_dir: Path
) -> None:
    bag, live, offline = tmp_path / "leg", tmp_path / "live", tmp_path / "offline"
    assert main(["convert", "ultrabones", str(data_dir / "ultrabones_leg"), "--out", str(bag)]) == 0
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    assert main(["replay", str(bag), "--out", str(offline), *options]) == 0

    parameters = {**settings, "reliable_images": True, "image_queue": 1000, "queue_frames": 1000,
                  "output_dir": str(live), "use_sim_time": True}  # fmt: skip
    node = graph.add(
        OccupancyMapperNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()]
        )
    )
    played = play_bag(bag, rate=5.0, context=graph.node.context)
    assert played.rounds == 1
    graph.wait(lambda: node.frames_used == 136, "all 136 frames", timeout_s=60.0)
    assert node.count_fields()["frames_dropped"] == 0
    node.save(settled=True)

    first, second = read_mesh(live / "mesh.ply"), read_mesh(offline / "mesh.ply")
    assert len(second.triangles) > 5000
    np.testing.assert_array_equal(first.triangles, second.triangles)
    np.testing.assert_array_equal(first.vertices_mm, second.vertices_mm)
