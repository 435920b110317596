"""The table of virtual patients."""

import numpy as np
import pytest

from us_recon.errors import ConfigError, InputError
from us_recon.imaging.probe import ProbeKind
from us_recon.settings import overridden
from us_recon.simulation.catalogue import PATIENTS, make_patient, patient_kind
from us_recon.simulation.patients.brain import BrainSettings
from us_recon.simulation.patients.spine import VirtualSpine
from us_recon.simulation.robot import plan_sweep
from us_recon.simulation.scene import Scene

MADE = sorted(set(PATIENTS) - {"volume"})


def test_the_patients_asked_for_are_there() -> None:
    assert set(PATIENTS) == {"spine", "brain", "long_bone", "liver", "volume"}
    assert all(kind.help.endswith(".") for kind in PATIENTS.values())


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("probe", list(ProbeKind))
def test_every_probe_can_make_the_sweep(name: str, probe: ProbeKind) -> None:
    kind, scene = PATIENTS[name], make_patient(name, 2)
    geometry = kind.probe(probe).geometry
    assert geometry.kind is probe
    trajectory = plan_sweep(scene, geometry, kind.sweep)
    poses = trajectory.poses(np.linspace(0.0, trajectory.duration_s, 5))
    # The middle of the face lies near the skin throughout.
    assert np.abs(scene.contact_distance_mm(poses[:, :3, 3])).max() < 8.0


@pytest.mark.parametrize("name", MADE)
def test_scenes_tell_what_a_label_marks(name: str) -> None:
    scene = make_patient(name, 1)
    assert isinstance(scene, Scene) and len(scene.interfaces) <= 7
    assert scene.target == scene.solids[0]
    blocks = {interface.name: interface.blocks for interface in scene.interfaces}
    assert scene.target_is_solid is not blocks[scene.target]
    here = scene.T_scene_approach[:3, 3][None] + np.array([[0.0, 0.0, 5.0]])
    assert not scene.shift_mm(here).any()


def test_given_settings_replace_drawn_ones() -> None:
    drawn, given = make_patient("spine", 4), make_patient("spine", 4, {"fat_mm": 11.0})
    assert isinstance(drawn, VirtualSpine) and isinstance(given, VirtualSpine)
    assert given.settings == overridden(drawn.settings, {"fat_mm": 11.0})
    assert given.settings.fat_mm == 11.0 != drawn.settings.fat_mm


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shift_mm is 90\.0 mm; expected a value from 0\.0 to"):
        make_patient("brain", 0, {"shift_mm": 90.0})
    with pytest.raises(ConfigError, match="lesion is 'gas'"):
        make_patient("brain", 0, {"lesion": "gas"})
    with pytest.raises(ConfigError, match="expected 3 finite numbers"):
        make_patient("volume", 0, {"file": "x", "aim_mm": (1.0, 2.0)})
    with pytest.raises(InputError, match="scene is 'lung'; expected one of spine, brain"):
        patient_kind("lung")


def test_drawing_a_brain_has_not_changed() -> None:
    # Written down before there were lesions and shifts.
    drawn = BrainSettings.drawn(3)
    assert drawn.side == "right" and drawn.lesion == "none" and drawn.shift_mm == 0.0
    assert drawn.forward_deg == pytest.approx(26.713795272656036)
    assert drawn.upward_deg == pytest.approx(39.877370414290596)
