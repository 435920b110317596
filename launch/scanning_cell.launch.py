"""Mapping and registration on a live scanning cell.

    ros2 launch us_recon scanning_cell.launch.py mri_file:=/data/t1.nii.gz
    ros2 launch us_recon scanning_cell.launch.py mri_file:=t1.nii.gz \
        initial_from:=landmarks landmarks:=pairs.tag

Remap `ultrasound/image`, `ultrasound/probe_geometry` and `probe_pose` to your topics, or put the
cell into a namespace with `namespace:=cell1`.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "params_file": (None, "Parameters of all nodes (YAML)."),
    "namespace": ("", "Namespace of the cell."),
    "map": ("true", "Start the occupancy mapper."),
    "mri_file": ("", "Preoperative MRI (NIfTI); empty starts no registration."),
    "initial_from": ("topic", "First guess: topic, parameters, landmarks, clicks or surface."),
    "landmarks": ("", "MNI tag file with landmarks, for `landmarks` and `clicks`."),
    "mri_surface": ("", "Bone segmented in the MRI or CT (.stl, .ply), for `surface`."),
    "target": ("bone", "What labels mark: bone, or an organ or lesion (organ)."),
    "prior": ("", "Shape prior (`us-recon prior train`) that completes the map; empty: none."),
    "map_file": ("", "Map (map.npz) of an earlier scan to go on from; empty: a new one."),
    "output_dir": ("", "Folder for mesh and map at shutdown; empty writes nothing."),
    "image_topic": ("ultrasound/image", "B-mode images (sensor_msgs/Image)."),
    "geometry_topic": ("ultrasound/probe_geometry", "Geometry (us_recon/ProbeGeometry)."),
    "label_topic": ("ultrasound/label", "Optional masks of the target (sensor_msgs/Image)."),
    "pose_topic": ("probe_pose", "PoseStamped of the probe, where pose_source is `topic`."),
    "use_sim_time": ("false", "Take time from /clock."),
    "rviz": ("true", "Start RViz."),
}

REGISTRATION = {
    "mri_file": "mri_file",
    "initial_from": "initial_from",
    "landmarks_file": "landmarks",
    "mri_surface_file": "mri_surface",
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the nodes."""
    share = FindPackageShare("us_recon")
    defaults = {"params_file": PathJoinSubstitution([share, "config", "us_recon.yaml"])}
    declared = [
        DeclareLaunchArgument(name, default_value=defaults.get(name, default), description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    argument = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    use_sim_time = {"use_sim_time": ParameterValue(argument["use_sim_time"], value_type=bool)}
    remappings = [
        ("ultrasound/image", argument["image_topic"]),
        ("ultrasound/probe_geometry", argument["geometry_topic"]),
        ("ultrasound/label", argument["label_topic"]),
        ("probe_pose", argument["pose_topic"]),
    ]
    mapper = Node(
        package="us_recon",
        executable="occupancy_mapper",
        name="occupancy_mapper",
        namespace=argument["namespace"],
        parameters=[
            argument["params_file"],
            use_sim_time,
            {
                name: ParameterValue(argument[name], value_type=str)
                for name in ("target", "prior", "map_file", "output_dir")
            },
        ],
        remappings=remappings,
        condition=IfCondition(argument["map"]),
        output="screen",
        # The map is written at shutdown: leave it the time.
        sigterm_timeout="30",
    )
    registration = Node(
        package="us_recon",
        executable="mri_registration",
        name="mri_registration",
        namespace=argument["namespace"],
        parameters=[
            argument["params_file"],
            use_sim_time,
            {
                parameter: ParameterValue(argument[name], value_type=str)
                for parameter, name in REGISTRATION.items()
            },
        ],
        remappings=remappings,
        condition=IfCondition(PythonExpression(["'", argument["mri_file"], "' != ''"])),
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([share, "config", "us_recon.rviz"])],
        condition=IfCondition(argument["rviz"]),
    )
    return LaunchDescription([*declared, mapper, registration, rviz])
