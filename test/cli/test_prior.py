"""`us-recon prior train` on the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from us_recon.cli.main import USER_ERROR, main
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_files import write_mesh
from us_recon.occupancy.prior.files import read_prior


def test_train_on_meshes(ball: Callable[..., Mesh], tmp_path: Path) -> None:
    files = [str(tmp_path / f"{radius}.ply") for radius in (18, 20, 22)]
    for file, radius in zip(files, (18.0, 20.0, 22.0), strict=True):
        write_mesh(ball(radius, (5.0 * radius, 0.0, 0.0)), file)
    out = tmp_path / "ball.npz"
    assert main(["prior", "train", *files, "--out", str(out), "--grid-mm", "4"]) == 0
    prior = read_prior(out).shape
    assert prior.training.subjects == tuple(files)
    # Their distances differ by a constant: one mode, of a standard deviation of 2 mm.
    near = np.abs(prior.fields_mm[..., 0]) < 3.0
    np.testing.assert_allclose(np.abs(prior.fields_mm[near, 1]), 2.0, atol=0.2)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("absent.ply", "no such file"), ("shape.txt", "expected"), ("absent.npz", "no such file")],
)
def test_bad_subjects(
    name: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prior.npz"
    assert main(["prior", "train", str(tmp_path / name), "--out", str(out)]) == USER_ERROR
    assert complaint in capsys.readouterr().err
    assert not out.exists()
