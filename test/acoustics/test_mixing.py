"""Properties go on past the end of what is known, and sheared grids are refused."""

import numpy as np
import pytest
import torch

from us_recon.acoustics.mixing import acoustic_volume, check_orthogonal, properties_of
from us_recon.errors import InputError


def test_the_unknown_continues_what_lies_nearest() -> None:
    known = np.zeros((4, 2, 2), bool)
    known[:2] = True
    properties = np.zeros((4, 2, 2, 3), np.float32)
    properties[0], properties[1] = (1.5, 0.1, 0.0), (1.6, 0.5, 1.0)
    made = acoustic_volume(properties, known, np.eye(4))
    assert made.impedance_mrayl[:, 0, 0].tolist() == pytest.approx([1.5, 1.6, 1.6, 1.6])
    assert made.scatter[:, 1, 1].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert made.inside[:, 0, 0].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_nearest_is_meant_in_millimetres() -> None:
    # From (1, 1): 3 mm along the first axis to a 1.5, 1 mm along the second to a 1.6.
    known = np.array([[[False], [True]], [[True], [False]]])[..., [0, 0]]
    known[0, 1], known[1, 0] = True, True
    properties = np.zeros((2, 2, 2, 3), np.float32)
    properties[0, 1, :, 0], properties[1, 0, :, 0] = 1.5, 1.6
    made = acoustic_volume(properties, known, np.diag([3.0, 1.0, 1.0, 1.0]))
    assert made.impedance_mrayl[1, 1].tolist() == pytest.approx([1.6, 1.6])


def test_properties_are_those_of_the_table() -> None:
    csf, white = properties_of(["csf", "white_matter"])
    assert torch.allclose(csf, torch.tensor([1.515535, 0.0022, 0.01]), atol=1e-5)
    assert white[0] > csf[0]


@pytest.mark.parametrize(("shear_deg", "accepted"), [(0.0, True), (0.8, True), (3.0, False)])
def test_axes_have_to_be_orthogonal(shear_deg: float, accepted: bool) -> None:
    T = np.diag([0.5, 1.0, 2.0, 1.0])
    T[1, 0] = 0.5 * np.tan(np.radians(shear_deg))
    if accepted:
        check_orthogonal(T)
    else:
        with pytest.raises(InputError, match=r"3.0 degrees.*resample"):
            check_orthogonal(T)


def test_nothing_known_is_refused() -> None:
    with pytest.raises(InputError, match="no voxel is known"):
        acoustic_volume(np.ones((2, 2, 2, 3), np.float32), np.zeros((2, 2, 2), bool), np.eye(4))
