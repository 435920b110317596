"""Import every module below us_recon/ but ros/, and print the ROS modules they asked for.

Usage: import_all.py FOLDER    where FOLDER holds us_recon/
"""

import importlib
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

ROS_PACKAGES = {
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "message_filters",
    "rcl_interfaces",
    "rclpy",
    "rosbag2_py",
    "rosgraph_msgs",
    "sensor_msgs",
    "sensor_msgs_py",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "tf2_ros",
    "tf_transformations",
    "visualization_msgs",
}


class WithoutRos(MetaPathFinder):
    """Make ROS's packages missing, as on a machine without ROS, and remember who was sought."""

    def __init__(self) -> None:
        self.sought: set[str] = set()

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Refuse ROS's modules and the package's own messages."""
        own_message = name.startswith("us_recon.msg")
        package = "us_recon.msg" if own_message else name.partition(".")[0]
        if package not in ROS_PACKAGES | {"us_recon.msg"}:
            return None
        self.sought.add(package)
        raise ModuleNotFoundError(f"no module named {name!r} (hidden by the test)", name=name)


def module_names(folder: Path) -> Iterator[str]:
    """Yield the dotted names of the modules, without those of us_recon.ros."""
    for file in sorted((folder / "us_recon").rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        if parts[1] != "ros":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def main() -> int:
    """Import everything; the exit status is 1 where a module could not be imported."""
    folder = Path(sys.argv[1])
    finder = WithoutRos()
    sys.meta_path.insert(0, finder)
    sys.path.insert(0, str(folder))
    failed = 0
    for name in module_names(folder):
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed = 1
            sys.stderr.write(f"{name}: {error}\n")
    imported = Path(sys.modules["us_recon"].__file__ or "").parent
    if imported != folder / "us_recon":
        sys.stderr.write(f"imported {imported}, not {folder / 'us_recon'}\n")
        return 1
    sys.stdout.write("\n".join(sorted(finder.sought)))
    return failed


if __name__ == "__main__":
    sys.exit(main())
