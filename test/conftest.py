"""Fixtures that every test shares, and the run-time check of array shapes."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook names its checker by module; this one accepts int where float is asked (PEP 484).
checker = ModuleType("us_recon_type_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker
# Before any module of the package is imported: annotations are then checked at every call.
install_import_hook("us_recon", f"{checker.__name__}.check")

# As the nodes and commands do it, see `us_recon.pipeline.threads`.
torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings; the test is skipped where they are absent."""
    folder = Path(os.environ.get("US_RECON_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the recordings are not at {folder}; set US_RECON_DATA to their folder")
    return folder
