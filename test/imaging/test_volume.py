import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.volume import Volume


def ramp() -> Volume:
    # f(x, y, z) = x + 10 y + 100 z in mm, on a 2 mm grid with the first axis reversed.
    T = np.array([[-2.0, 0, 0, 6], [0, 2, 0, -4], [0, 0, 2, 1], [0, 0, 0, 1]])
    index = np.stack(np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij"), -1)
    points = index @ T[:3, :3].T + T[:3, 3]
    return Volume((points @ [1.0, 10.0, 100.0]).astype(np.float32), T)


def test_trilinear_sampling_reproduces_a_linear_function() -> None:
    points = np.array([[1.3, -2.1, 5.5], [6.0, 4.0, 11.0]])
    np.testing.assert_allclose(ramp().sample(points), [1.3 - 21 + 550, 6 + 40 + 1100], rtol=1e-5)


def test_outside_is_nan_and_never_the_nearest_voxel() -> None:
    volume = ramp()
    outside = np.array([[6.1, 0.0, 5.0], [0.0, 0.0, 11.2], [1e6, 0, 0]])
    assert np.isnan(volume.sample(outside)).all()
    assert (volume.sample(outside, fill=0.0) == 0.0).all()


def test_extent() -> None:
    volume = ramp()
    np.testing.assert_allclose(volume.spacing_mm, [2, 2, 2])
    np.testing.assert_allclose(volume.corners_mm.min(axis=0), [0, -4, 1])
    np.testing.assert_allclose(volume.corners_mm.max(axis=0), [6, 4, 11])
    np.testing.assert_allclose(volume.centre_mm, [3, 0, 6])


def test_flat_affine_is_refused() -> None:
    with pytest.raises(InputError, match="determinant"):
        Volume(np.zeros((2, 2, 2), np.float32), np.diag([1.0, 1.0, 0.0, 1.0]))
