import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest

from us_recon.errors import InputError
from us_recon.io import messages


def test_the_definitions_of_the_checkout_are_found_and_registered() -> None:
    folder = messages.message_folder()
    assert (folder / "ProbeGeometry.msg").is_file()
    store = messages.own_typestore()
    for path in folder.glob("*.msg"):
        assert f"us_recon/msg/{path.stem}" in store.fielddefs


def test_the_definitions_of_an_installation_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As pip and colcon lay them out: <prefix>/lib/.../us_recon/io and <prefix>/share/us_recon/msg.
    module = tmp_path / "lib" / "python3" / "site-packages" / "us_recon" / "io" / "messages.py"
    share = tmp_path / "share" / "us_recon" / "msg"
    shutil.copytree(messages.message_folder(), share)
    monkeypatch.setattr(messages, "__file__", str(module))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    assert messages.message_folder() == share


def test_pip_installs_the_definitions_there() -> None:
    config = ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    assert config["options.data_files"]["share/us_recon/msg"] == "msg/*.msg"


def test_missing_definitions_say_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "__file__", str(tmp_path / "messages.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ament"))
    monkeypatch.setattr(messages.site, "getuserbase", lambda: str(tmp_path))
    with pytest.raises(InputError, match=r"ament/share/us_recon/msg.*reinstall"):
        messages.message_folder()


def test_the_official_hash_of_tf() -> None:
    # As built by rosidl of a ROS 2 distribution.
    official = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    assert messages.own_typestore().hash_rihs01(messages.TF) == official
