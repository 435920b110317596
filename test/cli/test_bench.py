import json
import subprocess
from pathlib import Path

import pytest

from us_recon.cli.main import main

BEFORE = "method,mm\nA,2.0\nB,1.00\n"
AFTER = "method,mm\nA,1.5\nB,1.01\n"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in (("before", BEFORE), ("after", AFTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spine.csv").write_text(text)
    return tmp_path / "before", tmp_path / "after"


def test_compare_prints_what_moved(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "compare", *map(str, runs)]) == 0
    printed = capsys.readouterr().out
    assert "-25.0%" in printed and "1.01" not in printed
    assert "figures that moved by 2% or more: 1; by less: 1; the same: 0" in printed


def test_compare_as_json(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "compare", "--json", "--only", "spine", *map(str, runs)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [change["relative"] for change in found["changes"]] == [-0.25, pytest.approx(0.01)]


def test_a_git_revision_stands_for_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (results / "spine.csv").write_text(BEFORE)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Before"]):
        subprocess.run(["git", *command], check=True)
    (results / "spine.csv").write_text(AFTER)
    assert main(["bench", "compare", "HEAD", "benchmarks/results"]) == 0
    assert "-25.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "nowhere"], "no folder of results, no .csv file and no git revision"),
        (["{before}", "{after}", "--only", "brain"], "no table 'brain'; there are spine"),
        (["{before}", "{after}", "--tolerance", "-1"], "expected 0 or more"),
    ],
)
def test_what_cannot_be_compared_is_said(
    runs: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    places = {"before": runs[0], "after": runs[1]}
    assert main(["bench", "compare", *(a.format(**places) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
