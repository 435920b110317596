"""Files and folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from us_recon.errors import InputError


@contextmanager
def atomic_path(path: Path | str, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a path to write a file or a folder to; it takes the place of `path` on success.

    The temporary path has the final name, in a hidden folder beside the target, so that formats
    which derive names from their own (a bag names its storage file after its folder) come out
    right. After an error the target is as it was.

    Args:
        path: Where the file or folder is to be; missing parent folders are made.
        overwrite: Whether something that is already there may be replaced.

    Raises:
        InputError: `path` exists and may not be replaced, or its folder cannot be written to.
    """
    target = Path(path)
    if not target.name:
        raise InputError(f"{path} does not end in the name of a file or folder")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already; give another path or remove it first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        written = hidden / target.name
        yield written
        _replace(written, target, aside=hidden / "replaced")
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _replace(written: Path, target: Path, aside: Path) -> None:
    if not (written.is_dir() and target.is_dir()):
        os.replace(written, target)
        return
    # A folder cannot be replaced in one step: the old one stands aside until the new one is there.
    os.replace(target, aside)
    try:
        os.replace(written, target)
    except OSError:
        os.replace(aside, target)
        raise
