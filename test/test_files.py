from pathlib import Path

import pytest

from us_recon.errors import InputError
from us_recon.files import atomic_path


def test_a_file_appears_under_its_name(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new" / "file.txt") as partial:
        assert partial.name == "file.txt"  # formats may derive names from it
        partial.write_text("whole")
        assert not (tmp_path / "new" / "file.txt").exists()
    assert (tmp_path / "new" / "file.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with atomic_path(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_after_an_error_everything_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")

    def interrupted() -> None:
        with atomic_path(tmp_path / "folder") as partial:
            partial.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "folder" / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_nothing_written_is_an_error_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


def test_what_exists_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with (
        pytest.raises(InputError, match="exists already"),
        atomic_path(tmp_path / "file", overwrite=False),
    ):
        pytest.fail("must not be reached")


@pytest.mark.parametrize("path", ["/proc/no/file.txt", "/"])
def test_places_that_cannot_be_written_to_are_named(path: str) -> None:
    with pytest.raises(InputError, match=path), atomic_path(path):
        pytest.fail("must not be reached")
