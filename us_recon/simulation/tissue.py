"""Acoustic properties of tissues, in one table, each with its source.

Density and speed give the impedance, hence the reflection at an interface. Attenuation follows
``a(f) = attenuation_db_cm * f_mhz ** exponent``, one way. Backscatter is the mean speckle level in
B-mode relative to average soft tissue; published coefficients spread over 10 dB for one tissue,
so these levels are set to the order of brightness that atlases describe, not measured ones.

Of the figures entered from cited books without the books at hand, these were compared with open
tables later: density and speed of fat, muscle, bone and ligament lie in the ranges of MATERIALS,
the attenuation of water agrees with DIAGNOSTICS. The rest of those entries stands unchecked.
"""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Tissue:
    """One material.

    Attributes:
        density_kg_m3: Mass density.
        speed_m_s: Longitudinal speed of sound.
        attenuation_db_cm: One-way attenuation at 1 MHz, dB/cm.
        exponent: Power of the frequency in MHz.
        backscatter_db: Mean speckle power relative to average soft tissue.
        source: Where the figures come from.
    """

    density_kg_m3: float
    speed_m_s: float
    attenuation_db_cm: float
    exponent: float
    backscatter_db: float
    source: str

    @property
    def impedance_mrayl(self) -> float:
        """Characteristic impedance in MRayl (1e6 kg/m2/s)."""
        return self.density_kg_m3 * self.speed_m_s * 1e-6

    @property
    def backscatter_amplitude(self) -> float:
        """Root mean square speckle amplitude relative to average soft tissue."""
        return float(10.0 ** (self.backscatter_db / 20.0))

    def attenuation_at(self, frequency_mhz: float) -> float:
        """Return the one-way attenuation in dB/cm at a frequency in MHz."""
        return float(self.attenuation_db_cm * frequency_mhz**self.exponent)


SZABO = "Szabo, Diagnostic Ultrasound Imaging: Inside Out, 2nd ed. 2014, table B.1"
CULJAT = "Culjat et al., Ultrasound Med Biol 36 (2010) 861, table 1"
ITIS = "IT'IS Foundation, tissue properties database 4"
PINTON = "Pinton et al., Med Phys 39 (2012) 299"
DIAGNOSTICS = "Diagnostics 13 (2023) 855, table 4 (PMC10001275)"
MATERIALS = "Mech Mater 44 (2012) 174, table 3 (PMC3233242)"
ORGANS = "Phys Med Biol 64 (2019) 225001, table 1 (PMC6925591)"
BRAIN = f"around the whole brain's 0.6 ({CULJAT})"
LANDMARKS = "level: intraoperative landmarks, doi 10.1186/s41984-019-0056-5"

TISSUES = MappingProxyType(
    {
        "gel": Tissue(1000, 1480, 0.0022, 2.0, -80.0, f"water; {CULJAT}; exponent {SZABO}"),
        "csf": Tissue(1007, 1505, 0.0022, 2.0, -50.0, f"{ITIS}; attenuation of water; {LANDMARKS}"),
        "grey_matter": Tissue(1045, 1500, 0.5, 1.0, -12.0, f"{ITIS}; attenuation {BRAIN}, less"),
        "white_matter": Tissue(1041, 1552, 0.7, 1.0, -6.0, f"{ITIS}; attenuation {BRAIN}, more"),
        "pia": Tissue(1100, 1500, 0.6, 1.0, 5.0, f"sulcal membranes; {ITIS}; {LANDMARKS}"),
        "dura": Tissue(1174, 1500, 1.0, 1.0, 6.0, f"{ITIS} (dura); {LANDMARKS}"),
        "skin": Tissue(1109, 1624, 1.0, 1.0, 2.0, f"{ITIS}; attenuation and level set by us"),
        "fat": Tissue(950, 1478, 0.48, 1.0, -8.0, f"{CULJAT}"),
        "muscle": Tissue(1050, 1547, 0.8, 1.0, -8.0, f"{CULJAT}, 0.57 ({SZABO}) to 1.09 dB/cm"),
        "ligament": Tissue(1100, 1670, 1.5, 1.0, -1.0, f"tendon, {CULJAT}; attenuation lowered"),
        "disc": Tissue(1100, 1627, 1.0, 1.0, -8.0, f"{ITIS} (intervertebral disc)"),
        "bone": Tissue(1975, 3476, 6.9, 1.0, -24.0, f"cortical, {CULJAT}"),
        "skull": Tissue(1908, 2814, 13.3, 1.0, -24.0, f"{ITIS}; attenuation {PINTON}"),
        "liver": Tissue(1060, 1577, 0.5, 1.0, -3.0, f"{ORGANS}; attenuation {DIAGNOSTICS}"),
        "kidney": Tissue(
            1050, 1560, 1.0, 1.0, -7.0, f"{MATERIALS}, mid; attenuation {DIAGNOSTICS}"
        ),
        "spleen": Tissue(
            1054, 1567, 0.4, 1.0, -2.0, f"{MATERIALS}, mid; attenuation {DIAGNOSTICS}"
        ),
        "blood": Tissue(1050, 1575, 0.15, 1.2, -38.0, f"attenuation {DIAGNOSTICS}; rest set by us"),
        "bile": Tissue(1010, 1520, 0.02, 1.5, -55.0, "near water; set by us"),
        "vessel_wall": Tissue(1060, 1600, 0.8, 1.0, 7.0, f"bile duct, {ORGANS}; rest set by us"),
        "gallbladder": Tissue(1060, 1584, 0.8, 1.0, 3.0, f"wall, {ORGANS}; rest set by us"),
        "tumour": Tissue(1050, 1550, 0.8, 1.0, 3.0, "hyperechoic solid tumour; set by us"),
        "marrow": Tissue(1029, 1480, 0.5, 1.0, -10.0, "yellow marrow, like fat; set by us"),
        "air": Tissue(1.2, 330, 1.2, 2.0, -80.0, f"{CULJAT}"),
    }
)


def reflection_coefficient(front: str, behind: str) -> float:
    """Return the pressure reflection coefficient at normal incidence, ``(Z2-Z1)/(Z2+Z1)``.

    Source: Szabo, chapter 3.
    """
    z_front, z_behind = TISSUES[front].impedance_mrayl, TISSUES[behind].impedance_mrayl
    return (z_behind - z_front) / (z_behind + z_front)
