"""An MRI becomes tissue: on drawn heads with known truth, on bad input, and on real images."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from us_recon.acoustics.classifier import CLASSES
from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.mixing import properties_of
from us_recon.acoustics.mri_map import (
    TISSUES_OF_MAP,
    MriMapSettings,
    acoustic_volume_from_mri,
    tissue_shares,
)
from us_recon.acoustics.tissues import TISSUES
from us_recon.acoustics.virtual_heads import VirtualHead, virtual_head
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume
from us_recon.io.volumes import read_volume

CLEAR = MriMapSettings(sulcus_width_mm=0.0)
SEED = 1001  # trained nothing


@lru_cache(maxsize=3)
def crop(contrast: str) -> VirtualHead:
    return virtual_head(contrast, SEED, crop="front")


def share(volume: Volume, contrast: str, name: str, settings: MriMapSettings = CLEAR) -> np.ndarray:
    found = tissue_shares(volume, contrast, settings)
    values = np.full(volume.data.shape, np.nan, np.float32)
    values[found.known] = found.shares[:, TISSUES_OF_MAP.index(name)].numpy()
    return values


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_impedance_follows_the_true_tissues(contrast: str) -> None:
    head = crop(contrast)
    made = acoustic_volume_from_mri(head.volume, contrast, CLEAR).impedance_mrayl.numpy()
    true = np.tensordot(properties_of(CLASSES)[:, 0].numpy(), head.shares, axes=1)
    for name, worst in (("csf", 0.03), ("grey_matter", 0.015), ("white_matter", 0.015)):
        pure = head.shares[CLASSES.index(name)] > 0.9
        assert np.median(np.abs(made - true)[pure]) < worst, name
    grey, white = (
        np.median(made[head.shares[CLASSES.index(name)] > 0.9])
        for name in ("grey_matter", "white_matter")
    )
    # 48 kRayl apart in the table.
    assert white - grey > 0.03


def test_gain_and_offset_change_nothing() -> None:
    volume = crop("t1").volume
    other = replace(volume, data=(3.7 * volume.data + 120.0).astype(np.float32))
    first, second = (acoustic_volume_from_mri(each, "t1") for each in (volume, other))
    assert float((first.impedance_mrayl - second.impedance_mrayl).abs().median()) < 1e-3


def test_what_is_nan_is_unknown_and_makes_no_edge() -> None:
    volume = crop("t1").volume
    data = volume.data.copy()
    data[:8] = np.nan
    made = acoustic_volume_from_mri(replace(volume, data=data), "t1")
    assert not made.inside[:8].any() and bool(made.inside[8:].all())
    assert np.array_equal(made.impedance_mrayl[0], made.impedance_mrayl[8])


def test_padding_is_unknown_and_a_bare_brain_has_no_skull() -> None:
    head = virtual_head("t1", SEED, bare=True, crop="front")
    made = acoustic_volume_from_mri(head.volume, "t1")
    inside = made.inside.numpy() > 0.5
    assert np.array_equal(inside, head.known)
    assert made.impedance_mrayl.max() < 1.8


def test_a_lesion_mask_is_believed() -> None:
    volume = crop("t1").volume
    mask = np.zeros_like(volume.data)
    mask[30:34, 30:34, 30:34] = 1.0
    lesion = replace(volume, data=mask)
    made = acoustic_volume_from_mri(volume, "t1", lesion=lesion)
    assert made.scatter[31, 31, 31] == pytest.approx(TISSUES["tumour"].scatter, abs=1e-4)
    with pytest.raises(InputError, match="resample the mask"):
        acoustic_volume_from_mri(volume, "t1", lesion=replace(lesion, data=mask[1:]))


def test_a_lesion_is_seen_on_flair_and_can_be_left_out() -> None:
    head = virtual_head("flair", 1002, bare=True, crop="front")
    true = head.shares[CLASSES.index("tumour")] > 0.9
    assert true.sum() > 300
    found = share(head.volume, "flair", "tumour")
    assert found[true].mean() > 0.5
    assert np.nanmean(found[head.shares[CLASSES.index("tumour")] == 0]) < 0.05
    without = MriMapSettings(find_lesion=False)
    assert np.nanmax(share(head.volume, "flair", "tumour", without)) == 0.0


def test_narrow_fluid_is_echogenic_and_wide_fluid_clear() -> None:
    head = crop("t2")
    made = acoustic_volume_from_mri(head.volume, "t2").scatter.numpy()
    clear = acoustic_volume_from_mri(head.volume, "t2", CLEAR).scatter.numpy()
    fluid = head.shares[CLASSES.index("csf")] > 0.9
    assert clear[fluid].mean() < 0.3
    assert made[fluid].mean() > clear[fluid].mean() + 0.2


def noise(smooth_mm: float) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((48, 48, 48))
    return (100.0 + 20.0 * (gaussian_filter(values, smooth_mm) if smooth_mm else values)).astype(
        np.float32
    )


BALL = np.linalg.norm(np.indices((48, 48, 48)) - 23.5, axis=0) < 20
BAD = {
    "is 5 everywhere": (np.full((48, 48, 48), 5.0, np.float32), np.eye(4)),
    "NaN everywhere": (np.full((48, 48, 48), np.nan, np.float32), np.eye(4)),
    "neighbouring voxels are not alike": (noise(0.0), np.eye(4)),
    "does not show fluid": (noise(3.0), np.eye(4)),
    "would lie only|hardly any|no grey|does not show": ((90.0 * BALL + noise(1.0)), np.eye(4)),
    "measures 0.048 x": (noise(3.0), np.diag([1e-3, 1e-3, 1e-3, 1.0])),
    "measures 4.8e": (noise(3.0), np.diag([1e3, 1e3, 1e3, 1.0])),
    "looks like a CT": (noise(3.0) - 1000.0, np.eye(4)),
    "sheared": (noise(3.0), np.eye(4) + np.eye(4, k=1) * [0, 0.2, 0, 0]),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_mri_of_a_head_is_refused(message: str) -> None:
    data, T = BAD[message]
    with pytest.raises(InputError, match=message):
        acoustic_volume_from_mri(Volume(data.astype(np.float32), T), "t1")


def test_another_contrast_is_refused() -> None:
    with pytest.raises(InputError, match="another contrast"):
        acoustic_volume_from_mri(crop("t1").volume, "flair")
    with pytest.raises(InputError, match="'swi'"):
        acoustic_volume_from_mri(crop("t1").volume, "swi")


@pytest.mark.parametrize("contrast", ["T1", "FLAIR"])
def test_a_real_patient(data_dir: Path, contrast: str) -> None:
    folder = data_dir / "resect_case24"
    mri = read_volume(folder / f"Case24_{contrast}_in_US_grid.nii.gz")
    found = tissue_shares(mri, contrast.lower())
    mean = dict(zip(TISSUES_OF_MAP, found.shares.mean(dim=0).tolist(), strict=True))
    assert mean["grey_matter"] > 0.3 and mean["white_matter"] > 0.3
    assert 0.02 < mean["csf"] + mean["sulcus"] < 0.2
    assert mean["skull"] + mean["air"] < 0.05
    other = "flair" if contrast == "T1" else "t1"
    with pytest.raises(InputError, match="another contrast"):
        acoustic_volume_from_mri(mri, other)
    with pytest.raises(InputError, match="does not look like"):
        acoustic_volume_from_mri(read_volume(folder / "Case24_US.nii.gz"), contrast.lower())
