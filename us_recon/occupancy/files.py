"""Writing a file whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from us_recon.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path with the same ending to write to; it takes the place of `path` on success.

    After an error the file at `path` is as it was.

    Raises:
        InputError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    with folder as hidden:
        written = Path(hidden) / path.name
        yield written
        os.replace(written, path)
