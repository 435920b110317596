"""The virtual patients by name, each with the sweep and the probes that suit it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.probe import ProbeKind
from us_recon.io.volumes import read_volume
from us_recon.settings import overridden
from us_recon.simulation.patients.brain import BrainSettings, VirtualBrain
from us_recon.simulation.patients.liver import LiverSettings, VirtualLiver
from us_recon.simulation.patients.long_bone import LongBoneSettings, VirtualLongBone
from us_recon.simulation.patients.spine import SpineSettings, VirtualSpine
from us_recon.simulation.patients.user_volume import VolumePatient, VolumeSettings
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scanner.probes import (
    VirtualProbe,
    abdominal_probe,
    back_probe,
    general_probe,
    superficial_probe,
    surgical_probe,
)
from us_recon.simulation.scene import Scene


@dataclass(frozen=True)
class PatientKind:
    """One kind of virtual patient.

    Attributes:
        settings: Dataclass of its settings.
        drawn: Draws the settings of one patient from a seed.
        make: Makes the patient from settings and seed.
        sweep: How it is scanned unless told otherwise.
        probe: Gives the probe of each kind that suits it.
        help: One sentence for the user.
    """

    settings: type
    drawn: Callable[[int], Any]
    make: Callable[[Any, int], Scene]
    sweep: SweepSettings
    probe: Callable[[ProbeKind], VirtualProbe]
    help: str


def _volume_patient(settings: VolumeSettings, seed: int) -> VolumePatient:
    if not settings.file:
        raise ConfigError("the patient 'volume' needs a file; give one, as in file=ct.nii.gz")
    return VolumePatient(read_volume(settings.file), settings, seed)


PATIENTS: Mapping[str, PatientKind] = MappingProxyType(
    {
        "spine": PatientKind(
            SpineSettings,
            SpineSettings.drawn,
            VirtualSpine,
            SweepSettings(sweep="raster", length_mm=70.0, lanes=3, lane_spacing_mm=18.0),
            back_probe,
            "Lumbar vertebrae under the muscles of the back.",
        ),
        "brain": PatientKind(
            BrainSettings,
            BrainSettings.drawn,
            VirtualBrain,
            SweepSettings(sweep="fan", tilt_deg=28.0),
            surgical_probe,
            "Brain through a craniotomy, with lesion and brain shift where asked for.",
        ),
        "long_bone": PatientKind(
            LongBoneSettings,
            LongBoneSettings.drawn,
            VirtualLongBone,
            SweepSettings(sweep="linear", length_mm=180.0, speed_mm_s=15.0),
            superficial_probe,
            "Two long bones in the soft tissue of a limb.",
        ),
        "liver": PatientKind(
            LiverSettings,
            LiverSettings.drawn,
            VirtualLiver,
            SweepSettings(sweep="fan", tilt_deg=18.0, follow=0.0, press_mm=4.0),
            abdominal_probe,
            "Liver with vessels, gallbladder and diaphragm, from below the ribs.",
        ),
        "volume": PatientKind(
            VolumeSettings,
            VolumeSettings.drawn,
            _volume_patient,
            SweepSettings(sweep="linear", length_mm=50.0),
            general_probe,
            "Your own CT or labelled volume.",
        ),
    }
)


def patient_kind(name: str) -> PatientKind:
    """Return the kind of patient of that name.

    Raises:
        InputError: There is none.
    """
    if name not in PATIENTS:
        raise InputError(f"scene is {name!r}; expected one of {', '.join(PATIENTS)}")
    return PATIENTS[name]


def make_patient(
    name: str,
    seed: int,
    values: Mapping[str, Any] = MappingProxyType({}),
) -> Scene:
    """Return a patient drawn from a seed.

    Args:
        name: One of `PATIENTS`.
        seed: Seed of shape and texture.
        values: Settings that are not drawn but given.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
        InputError: Unknown name, or a volume that cannot be used.
    """
    kind = patient_kind(name)
    return kind.make(overridden(kind.drawn(seed), values), seed)
