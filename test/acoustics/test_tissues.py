"""The table of tissues is physically right."""

import pytest

from us_recon.acoustics.tissues import TISSUES, tissue
from us_recon.errors import InputError


def test_impedance_is_density_times_speed() -> None:
    # 1045 kg/m3 * 1500 m/s = 1.5675e6 kg/m2/s
    assert tissue("grey_matter").impedance_mrayl == pytest.approx(1.5675)


def test_echoes_are_those_of_the_textbook() -> None:
    def reflection(front: str, behind: str) -> float:
        a, b = tissue(front).impedance_mrayl, tissue(behind).impedance_mrayl
        return (b - a) / (b + a)

    # (1.6156 - 1.5675) / (1.6156 + 1.5675) = 0.0151
    assert reflection("grey_matter", "white_matter") == pytest.approx(0.0151, abs=2e-4)
    assert abs(reflection("skin", "air")) > 0.999
    assert 0.5 < reflection("muscle", "bone") < 0.7
    assert 6.0 < tissue("bone").impedance_mrayl < 7.5


def test_levels_and_attenuation_are_in_the_order_of_images() -> None:
    level = {name: each.scatter for name, each in TISSUES.items()}
    assert level["grey_matter"] == 1.0
    assert level["csf"] < 0.02 < level["blood"] < level["grey_matter"] < level["sulcus"]
    attenuation = {name: each.attenuation_db_cm_mhz for name, each in TISSUES.items()}
    assert attenuation["csf"] < attenuation["blood"] < attenuation["grey_matter"]
    assert attenuation["grey_matter"] < attenuation["white_matter"] < attenuation["bone"]


@pytest.mark.parametrize("name", TISSUES)
def test_every_tissue_has_a_source_and_possible_values(name: str) -> None:
    each = TISSUES[name]
    assert each.source
    assert 0.0004 <= each.impedance_mrayl < 8.0
    assert 0.0 <= each.attenuation_db_cm_mhz < 30.0
    assert each.scatter >= 0.0


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(InputError, match=r"'brain'.*grey_matter"):
        tissue("brain")
