"""A virtual patient, a virtual probe, and the nodes that map and register it.

ros2 launch us_recon simulated_cell.launch.py scene:=spine
ros2 launch us_recon simulated_cell.launch.py scene:=brain mri_file:=t1.nii.gz
ros2 launch us_recon simulated_cell.launch.py scene:=liver options:="sweep=fan gain_db=6"
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CELL = {
    "scene": ("spine", "Virtual patient: spine, brain, long_bone, liver or volume."),
    "probe": ("convex", "Virtual probe: linear, convex or phased."),
    "options": ("", "Settings of sweep, tracker, scanner and patient: 'sweep=fan gain_db=6'."),
    "seed": ("0", "Seed of patient, speckle and tracking noise."),
    "truth_dir": ("", "Folder that gets the true mesh, transforms and MRI; empty writes none."),
    "loop": ("false", "Start the sweep again when it ends."),
}
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
NUMBERS = {"seed": int, "loop": bool}


def generate_launch_description() -> LaunchDescription:
    """Start the virtual cell beside the nodes of a real one."""
    share = FindPackageShare("us_recon")
    defaults = {"params_file": PathJoinSubstitution([share, "config", "us_recon.yaml"])}
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in CELL.items()
    ]
    declared += [
        DeclareLaunchArgument(
            name,
            default_value=defaults.get(name, default),
            description="As in scanning_cell.launch.py.",
        )
        for name, default in FORWARDED.items()
    ]
    simulator = Node(
        package="us_recon",
        executable="scanning_cell",
        name="scanning_cell",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                name: ParameterValue(LaunchConfiguration(name), value_type=NUMBERS.get(name, str))
                for name in CELL
            },
        ],
        output="screen",
    )
    cell = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, "launch", "scanning_cell.launch.py"])
        ),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in FORWARDED],
    )
    return LaunchDescription([*declared, simulator, cell])
