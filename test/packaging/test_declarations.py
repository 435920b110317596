"""package.xml and setup.cfg declare what the code imports."""

import ast
import sys
from configparser import ConfigParser
from pathlib import Path
from xml.etree import ElementTree

import us_recon

ROOT = Path(__file__).parents[2]

# Where the name of a distribution differs from that of its module.
DISTRIBUTION_OF = {"cv2": "opencv-python-headless", "skimage": "scikit-image", "yaml": "pyyaml"}
PACKAGE_OF = {"tf2_ros": "tf2_ros_py"}


def imported(*folders: str) -> set[str]:
    """Top-level names of what the Python files below the folders import."""
    names: set[str] = set()
    for folder in folders:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add(str(node.module).split(".")[0])
                elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec"):
                    names |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return names - set(sys.stdlib_module_names) - {"us_recon"}


def package() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def declared() -> set[str]:
    return {str(e.text) for e in package() if e.tag in ("depend", "exec_depend")}


def required() -> set[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["install_requires"].split())


def is_ros(name: str) -> bool:
    return PACKAGE_OF.get(name, name) in declared()


def test_package_xml_declares_the_users_list() -> None:
    wanted = {"rclpy", "python3-torch", "python3-numpy", "python3-opencv", "tf_transformations"}
    wanted |= {"python3-nibabel", "python3-open3d-pip", "sensor_msgs_py"}
    assert wanted <= declared()


def test_every_import_is_declared() -> None:
    python = {DISTRIBUTION_OF.get(n, n) for n in imported("us_recon") if not is_ros(n)}
    assert python - required() == set()
    assert {n for n in imported("launch") if not is_ros(n)} == set()


def test_every_requirement_is_imported() -> None:
    assert required() - {DISTRIBUTION_OF.get(n, n) for n in imported("us_recon")} == set()


def test_the_version_is_the_same_everywhere() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    versions = {us_recon.__version__, config["metadata"]["version"], package().findtext("version")}
    assert len(versions) == 1, versions
