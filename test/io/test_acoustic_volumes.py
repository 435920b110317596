"""Acoustic volumes come back from their file as they were."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.io.acoustic_volumes import VOLUMES, read_acoustic_volume, write_acoustic_volume
from us_recon.io.nifti import write_nifti


@pytest.fixture
def acoustic() -> AcousticVolume:
    draw = torch.Generator().manual_seed(0)
    parts = {name: torch.rand(4, 5, 6, generator=draw) + 0.1 for name in VOLUMES}
    T = np.diag([0.5, -0.6, 0.7, 1.0])
    T[:3, 3] = 10.0, -20.0, 30.0
    return AcousticVolume(**parts, T_space_index=T)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_round_trip(acoustic: AcousticVolume, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"head.{ending}"
    write_acoustic_volume(path, acoustic)
    again = read_acoustic_volume(path)
    for name in VOLUMES:
        assert torch.equal(getattr(again, name), getattr(acoustic, name)), name
    assert np.allclose(again.T_space_index, acoustic.T_space_index, atol=1e-6)
    assert nibabel.nifti1.load(path).shape == (4, 5, 6, 4)


def test_other_images_are_refused(acoustic: AcousticVolume, tmp_path: Path) -> None:
    path = tmp_path / "mri.nii.gz"
    write_nifti(path, Volume(np.ones((3, 3, 3), np.float32), np.eye(4)))
    with pytest.raises(InputError, match="is no acoustic volume"):
        read_acoustic_volume(path)
    with pytest.raises(InputError, match="does not exist"):
        read_acoustic_volume(tmp_path / "none.nii")
    with pytest.raises(InputError, match="written as"):
        write_acoustic_volume(tmp_path / "head.mha", acoustic)


def test_a_damaged_file_is_refused(acoustic: AcousticVolume, tmp_path: Path) -> None:
    path = tmp_path / "head.nii"
    write_acoustic_volume(path, acoustic)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_acoustic_volume(path)
