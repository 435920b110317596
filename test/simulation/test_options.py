from collections import Counter
from dataclasses import fields

import pytest

from us_recon.errors import ConfigError
from us_recon.simulation.catalogue import PATIENTS
from us_recon.simulation.options import PARTS, cell_from_options


@pytest.mark.parametrize("scene", list(PATIENTS))
def test_no_setting_belongs_to_two_parts(scene: str) -> None:
    parts = (*PARTS, PATIENTS[scene].settings)
    counts = Counter(item.name for part in parts for item in fields(part))
    assert [name for name, count in counts.items() if count > 1] == []


def test_settings_reach_the_part_they_belong_to() -> None:
    texts = ["sweep=fan", "tilt_deg=9", "noise_mm=0.4", "grid_mm=3", "gain_db=6", "fat_mm=12.5"]
    cell = cell_from_options("spine", "linear", 2, texts)
    assert (cell.sweep.sweep, cell.sweep.tilt_deg) == ("fan", 9.0)
    assert (cell.tracker.noise_mm, cell.settings.grid_mm) == (0.4, 3.0)
    assert cell.imager_settings.gain_db == 6.0
    assert cell.scene.settings.fat_mm == 12.5  # type: ignore[attr-defined]
    # What was not given is as the scene has it, not as the class does.
    assert cell.sweep.lanes == PATIENTS["spine"].sweep.lanes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise_mm", "expected name=value"),
        ("=3", "expected name=value"),
        ("noise=1", "no setting 'noise'; expected one of .*noise_mm"),
        ("noise_mm=much", "noise_mm is 'much'; expected a number"),
        ("noise_mm=-1", "noise_mm is -1.0 mm; expected a value from 0"),
        ("vertebrae=2.5", "vertebrae is '2.5'; expected a whole number"),
        ("sweep=spiral", "sweep is 'spiral'; expected one of linear, fan, raster"),
        ("tgc_sliders_db=1,2", "expected 8 finite numbers"),
    ],
)
def test_what_is_no_setting_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cell_from_options("spine", "linear", 2, [text])
