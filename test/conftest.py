"""Fixtures that every test shares, and the run-time check of array shapes."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Before any module of the package is imported: annotations are then checked at every call.
install_import_hook("us_recon", "type_checker.check")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings; the test is skipped where they are absent."""
    folder = Path(os.environ.get("US_RECON_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the recordings are not at {folder}; set US_RECON_DATA to their folder")
    return folder
