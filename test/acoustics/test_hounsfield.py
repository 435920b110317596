"""A CT becomes tissue by its Hounsfield units."""

import numpy as np
import pytest

from us_recon.acoustics.hounsfield import acoustic_volume_from_ct, bone_properties
from us_recon.acoustics.tissues import TISSUES
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume


def ct(*values: float) -> Volume:
    return Volume(np.tile(np.float32(values)[:, None, None], (1, 2, 2)), np.eye(4))


def test_known_tissues_get_their_own_impedance() -> None:
    made = acoustic_volume_from_ct(ct(-1000, -100, 5, 40, 1000)).impedance_mrayl[:, 0, 0]
    names = ("air", "fat", "csf", "muscle")
    expected = [TISSUES[name].impedance_mrayl for name in names]
    # Solid bone: 2100 kg/m3 * 2900 m/s.
    assert made.tolist() == pytest.approx([*expected, 6.09], rel=1e-3)


def test_half_porous_bone_lies_half_way() -> None:
    half = bone_properties(np.float32([500.0]))
    assert half.density_kg_m3[0] == pytest.approx(0.5 * (994.0 + 2100.0))
    assert half.speed_m_s[0] == pytest.approx(0.5 * (1482.0 + 2900.0))
    assert half.attenuation_db_cm_mhz[0] == pytest.approx(6.65, abs=0.01)


def test_impedance_grows_with_density() -> None:
    units = np.arange(-100.0, 1500.0, 25.0)
    made = acoustic_volume_from_ct(ct(*units)).impedance_mrayl[:, 0, 0].numpy()
    assert np.all(np.diff(made) >= -1e-6)


def test_outside_the_field_is_unknown() -> None:
    made = acoustic_volume_from_ct(ct(-1024, 40, np.nan, -900))
    assert made.inside[:, 0, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert made.impedance_mrayl[0, 0, 0] == made.impedance_mrayl[1, 0, 0]


@pytest.mark.parametrize("values", [(600.0, 900.0), (0.0, 200.0), (-900.0, -800.0)])
def test_other_units_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="rescale slope"):
        acoustic_volume_from_ct(ct(*values))


def test_nothing_known_is_refused() -> None:
    with pytest.raises(InputError, match="no voxel above"):
        acoustic_volume_from_ct(ct(-2000, -2000))
