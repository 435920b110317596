"""Mapping and registration on a recorded bag.

    ros2 launch us_recon replay.launch.py bag:=sweep.bag mri_file:=t1.nii.gz output_dir:=out

The bag is played by this package's own player, which needs no rosbag2; the clock is the bag's.
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    Shutdown,
)
from launch.conditions import UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

FORWARDED = {
    "params_file": None,
    "map": "true",
    "mri_file": "",
    "initial_from": "topic",
    "landmarks": "",
    "mri_surface": "",
    "target": "bone",
    "prior": "",
    "map_file": "",
    "output_dir": "",
    "rviz": "true",
}


def generate_launch_description() -> LaunchDescription:
    """Play a bag into the nodes of a scanning cell."""
    share = FindPackageShare("us_recon")
    defaults = {"params_file": PathJoinSubstitution([share, "config", "replay.yaml"])}
    declared = [
        DeclareLaunchArgument("bag", description="Folder of the recording."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay."),
        *(
            DeclareLaunchArgument(
                name,
                default_value=defaults.get(name, default),
                description="As in scanning_cell.launch.py.",
            )
            for name, default in FORWARDED.items()
        ),
    ]
    cell = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, "launch", "scanning_cell.launch.py"])
        ),
        launch_arguments=[
            *((name, LaunchConfiguration(name)) for name in FORWARDED),
            ("use_sim_time", "true"),
        ],
    )
    player = ExecuteProcess(
        cmd=[
            ExecutableInPackage(executable="us-recon", package="us_recon"),
            "play",
            LaunchConfiguration("bag"),
            "--rate",
            LaunchConfiguration("rate"),
        ],
        name="player",
        output="screen",
        on_exit=[
            Shutdown(
                reason="the bag has ended", condition=UnlessCondition(LaunchConfiguration("stay"))
            )
        ],
    )
    stay = DeclareLaunchArgument(
        "stay",
        default_value=LaunchConfiguration("rviz"),
        description="Whether the nodes stay when the bag has ended.",
    )
    return LaunchDescription([*declared, stay, cell, player])
