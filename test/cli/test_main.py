from importlib import import_module
from pathlib import Path

import pytest

from us_recon import __version__
from us_recon.cli import main as entry
from us_recon.cli import parameters
from us_recon.pipeline.configuration import load_settings, parameter_file

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", entry.COMMANDS)
def test_every_command_that_is_listed_exists_and_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = import_module(f"us_recon.cli.{command.replace('-', '_')}")
    assert module.__doc__.startswith(f"`us-recon {command}")
    with pytest.raises(SystemExit) as stop:
        entry.main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: us-recon {command}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        entry.main(["--version"])
    assert capsys.readouterr().out == f"us_recon {__version__}\n"


def test_a_mistake_of_the_user_is_a_sentence_and_not_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "none"
    assert entry.main(["replay", str(missing), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("us-recon replay: ") and str(missing) in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["400"], "add --detector adaptive"), (["0", "--detector", "adaptive"], "1 step or more")],
)
def test_looking_again_without_learning_is_refused(
    options: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert entry.main(["replay", str(tmp_path), *out, "--look-again", *options]) == 2
    assert expected in capsys.readouterr().err


def test_the_committed_parameter_file_is_the_one_that_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry.main(["parameters"])
    committed = (ROOT / "config" / "us_recon.yaml").read_text()
    assert capsys.readouterr().out == committed, "run: us-recon parameters > config/us_recon.yaml"


def test_the_printed_parameters_are_read_back_as_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_text(parameter_file(parameters.SECTIONS))
    for section, classes in parameters.SECTIONS.items():
        assert load_settings(path, section, *classes) == [cls() for cls in classes]
