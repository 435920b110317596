"""What is known of a patient before the scan."""

from dataclasses import replace

import numpy as np
import pytest

from us_recon.acoustics.virtual_heads import virtual_head
from us_recon.errors import ConfigError
from us_recon.geometry.rigid import make_rigid
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import INSIDE, make_channels, make_coarse_channels
from us_recon.registration.patient_images import PatientImages, patient_images, resampled
from us_recon.registration.settings import RegistrationSettings


def ramp(shape: tuple[int, int, int], T: np.ndarray) -> Volume:
    """Return a volume whose values are x + 10 y + 100 z, which trilinear sampling reproduces."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = index @ T[:3, :3].T + T[:3, 3]
    return Volume((points @ [1.0, 10.0, 100.0]).astype(np.float32), T)


def test_other_grids_are_resampled_onto_the_first() -> None:
    grid = ramp((8, 9, 10), np.diag([1.0, 1.0, 1.0, 1.0]))
    turned = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, -2.0]])
    other = ramp((12, 14, 6), make_rigid(turned, np.array([1.0, 1.0, 9.5])))
    found = resampled(other, grid)
    # x reaches 1 to 1 + 13 / 2 = 7.5, y 1 to 6.5, z 9.5 down to -0.5.
    inside = np.zeros(grid.data.shape, dtype=bool)
    inside[1:8, 1:7, 0:10] = True
    np.testing.assert_array_equal(np.isfinite(found.data), inside)
    np.testing.assert_allclose(found.data[inside], grid.data[inside], atol=1e-3)


def test_an_mri_on_the_same_grid_is_taken_as_it_is() -> None:
    grid = ramp((4, 4, 4), np.eye(4))
    other = replace(grid, data=-grid.data)
    assert resampled(other, grid) is other


def test_several_mris_are_known_only_where_all_are() -> None:
    rng = np.random.default_rng(0)
    whole = Volume(rng.uniform(10, 20, (12, 12, 12)).astype(np.float32), np.eye(4))
    half = Volume(whole.data[:6].copy(), np.eye(4))
    images = patient_images([whole, half])
    assert images.acoustics is None and not images.tissue
    channels = make_channels(images, RegistrationSettings())
    assert channels.data.shape[-1] == 5
    # Of 6 slices one at each end is border.
    at = np.nonzero(channels.data[:, 5, 5, INSIDE])[0]
    assert at.tolist() == [1, 2, 3, 4]


def test_tissue_of_one_mri_joins_its_channels() -> None:
    head = virtual_head("t1", 1005, crop="front").volume
    images = patient_images([head], "t1")
    edges, scatter = images.tissue
    known = np.isfinite(edges.data)
    assert known.all() and edges.data.min() >= -80.0 and scatter.data.min() >= -26.0
    settings = RegistrationSettings()
    joint = make_channels(images, settings)
    assert joint.data.shape[-1] == 4
    assert make_channels(images, replace(settings, channels="mri")).data.shape[-1] == 3
    tissue = make_channels(images, replace(settings, channels="tissue"))
    assert tissue.data.shape[-1] == 3
    # Both end with the backscatter and the mask.
    np.testing.assert_array_equal(tissue.data[..., 1:], joint.data[..., 2:])
    # A search goes by LC2's alone, and by the tissue's where there are no others.
    mri = make_channels(images, replace(settings, channels="mri"))
    np.testing.assert_array_equal(joint.lc2.data, mri.data)
    assert joint.lc2.ridge == mri.ridge and joint.lc2 is joint.lc2
    assert mri.lc2 is mri and tissue.lc2 is tissue
    assert make_coarse_channels(images, replace(settings, channels="tissue")).data.shape[-1] == 3


def test_a_ct_has_tissue_too() -> None:
    hounsfield = np.full((6, 6, 6), 40.0, dtype=np.float32)
    hounsfield[3:] = 1000.0
    images = patient_images([Volume(hounsfield, np.eye(4))], "ct")
    edges = images.tissue[0].data
    # Inside soft tissue nothing reflects; at the bone a good part does.
    assert edges[0, 3, 3] == pytest.approx(-80.0) and edges[3, 3, 3] > -15.0


def test_two_contrasts_need_no_backscatter() -> None:
    hounsfield = Volume(np.full((6, 6, 6), 40.0, dtype=np.float32), np.eye(4))
    hounsfield.data[3:] = 1000.0
    images = patient_images([hounsfield, hounsfield], "ct")
    assert make_channels(images, RegistrationSettings()).data.shape[-1] == 5


def test_what_is_asked_for_must_be_known() -> None:
    volume = ramp((5, 5, 5), np.eye(4))
    with pytest.raises(ConfigError, match="0 MRIs"):
        patient_images([])
    with pytest.raises(ConfigError, match="tissue is not known"):
        make_channels(PatientImages((volume,)), RegistrationSettings(channels="tissue"))
