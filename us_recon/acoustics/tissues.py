"""What tissues do to sound: one table of acoustic properties, each with its source.

Density and speed give the impedance, hence the echo of an interface. Attenuation is taken as
proportional to frequency, which holds for soft tissue from 1 to 15 MHz and is an approximation for
water and air. Backscatter is the root mean square echo amplitude of the speckle relative to grey
matter. Published backscatter coefficients of one tissue spread over 10 dB and more, so the levels
follow the order of brightness that is described for B-mode images and are marked "set by us".

Sources named without a link were entered from the literature without the book or the database at
hand; those with a PMC number or a DOI were compared with the open table.
"""

from dataclasses import dataclass
from types import MappingProxyType

from us_recon.errors import InputError


@dataclass(frozen=True)
class Tissue:
    """One tissue.

    Attributes:
        density_kg_m3: Mass density.
        speed_m_s: Longitudinal speed of sound.
        attenuation_db_cm_mhz: One-way attenuation, dB/cm/MHz.
        scatter: Root mean square amplitude of backscatter relative to grey matter.
        source: Where the figures come from.
    """

    density_kg_m3: float
    speed_m_s: float
    attenuation_db_cm_mhz: float
    scatter: float
    source: str

    @property
    def impedance_mrayl(self) -> float:
        """Characteristic impedance in MRayl (1e6 kg/m2/s)."""
        return self.density_kg_m3 * self.speed_m_s * 1e-6


ITIS = "density, speed: IT'IS Foundation, tissue properties database 4"
CULJAT = "density, speed: Culjat et al., Ultrasound Med Biol 36 (2010) 861"
ATTENUATION = "attenuation: Diagnostics 13 (2023) 855, table 4 (PMC10001275)"
BRAIN = "attenuation about the whole brain's 0.6 (Culjat 2010), grey less than white: set by us"
LANDMARKS = "level set by us after doi 10.1186/s41984-019-0056-5, table 2"
LEVEL = "level set by us"

TISSUES = MappingProxyType(
    {
        "air": Tissue(1.2, 343.0, 7.5, 0.0, f"{CULJAT}; {ATTENUATION}; {LEVEL}"),
        "water": Tissue(994.0, 1482.0, 0.0022, 0.0, f"{ITIS}; {ATTENUATION}; {LEVEL}"),
        "csf": Tissue(
            1007.0, 1505.0, 0.0022, 0.01, f"{ITIS}; attenuation of water; ventricles, {LANDMARKS}"
        ),
        "grey_matter": Tissue(1045.0, 1500.0, 0.5, 1.0, f"{ITIS}; {BRAIN}; level by definition"),
        "white_matter": Tissue(1041.0, 1552.0, 0.7, 1.1, f"{ITIS}; {BRAIN}; hardly told apart from "
                               f"grey matter, {LANDMARKS}"),
        "sulcus": Tissue(1047.0, 1510.0, 0.3, 2.5, "pia and vessels in fluid, between the two: "
                         f"set by us; hyperechoic, {LANDMARKS}"),
        "dura": Tissue(1174.0, 1500.0, 1.0, 3.0, f"{ITIS}; attenuation set by us; {LANDMARKS}"),
        "vessel": Tissue(1060.0, 1560.0, 0.5, 2.5, "wall, blood and meninges that take up contrast "
                         "medium, together: set by us"),
        "tumour": Tissue(1050.0, 1550.0, 0.8, 2.0, "hyperechoic glioma: set by us"),
        "cyst": Tissue(1010.0, 1510.0, 0.02, 0.02, "near water: set by us"),
        "skull": Tissue(1908.0, 2814.0, 13.3, 0.3, f"{ITIS} (skull cortical); attenuation: Pinton "
                        f"et al., Med Phys 39 (2012) 299; {LEVEL}"),
        "cancellous_bone": Tissue(1178.0, 2118.0, 13.3, 0.6, f"{ITIS} (bone, cancellous); "
                                  f"attenuation as of the skull: set by us; {LEVEL}"),
        "bone": Tissue(1975.0, 3476.0, 6.9, 0.3, "cortical; Culjat et al., Ultrasound Med Biol 36 "
                       "(2010) 861; open tables give 6.5 MRayl and 1 to 10 dB/cm/MHz "
                       f"(PMC10346919, table A2); {LEVEL}"),
        "marrow": Tissue(980.0, 1450.0, 0.6, 0.8, f"yellow marrow; {ITIS}; attenuation as of fat: "
                         f"set by us; {LEVEL}"),
        "skin": Tissue(1109.0, 1624.0, 0.35, 2.0, f"{ITIS}; {ATTENUATION}; {LEVEL}"),
        "fat": Tissue(950.0, 1478.0, 0.63, 0.8, f"{CULJAT}; {ATTENUATION}; {LEVEL}"),
        "muscle": Tissue(1050.0, 1547.0, 0.96, 0.8, f"{CULJAT}; {ATTENUATION} (across the fibres); "
                         f"{LEVEL}"),
        "tendon": Tissue(1100.0, 1670.0, 1.57, 1.8, f"{CULJAT}; {ATTENUATION} (connective tissue); "
                         f"{LEVEL}"),
        "blood": Tissue(1060.0, 1575.0, 0.15, 0.05, f"{CULJAT}; {ATTENUATION}; {LEVEL}"),
        "liver": Tissue(1060.0, 1577.0, 0.5, 1.4, "density, speed: Phys Med Biol 64 (2019) 225001, "
                        f"table 1 (PMC6925591); {ATTENUATION}; {LEVEL}"),
        "kidney": Tissue(1050.0, 1560.0, 1.0, 0.9, "density, speed: Mech Mater 44 (2012) 174, "
                         f"table 3 (PMC3233242), middle; {ATTENUATION}; {LEVEL}"),
        "spleen": Tissue(1054.0, 1567.0, 0.4, 1.5, "density, speed: Mech Mater 44 (2012) 174, "
                         f"table 3 (PMC3233242), middle; {ATTENUATION}; {LEVEL}"),
    }
)  # fmt: skip


def tissue(name: str) -> Tissue:
    """Return a tissue of the table.

    Raises:
        InputError: There is no tissue of this name; the message lists the names.
    """
    if name not in TISSUES:
        raise InputError(
            f"tissue {name!r} is not in the table; it has {', '.join(sorted(TISSUES))}"
        )
    return TISSUES[name]
