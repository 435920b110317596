"""Device files: written, read back, and refused where they are wrong."""

from pathlib import Path

import pytest

from us_recon.acoustics.settings import RenderSettings
from us_recon.errors import ConfigError
from us_recon.io.device_files import read_device, write_device


def test_a_device_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    settings = RenderSettings(
        gain_db=12.25, tgc_sliders_db=(1.0, -2.0, 0, 0, 0, 0, 0, 0.5), speckle=True, seed=3
    )
    write_device(tmp_path / "device.json", settings)
    assert read_device(tmp_path / "device.json") == settings


def test_a_part_of_the_settings_in_yaml_is_enough(tmp_path: Path) -> None:
    (tmp_path / "device.yaml").write_text("gain_db: 3\nechoes: coupled\n")
    assert read_device(tmp_path / "device.yaml") == RenderSettings(gain_db=3.0, echoes="coupled")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"gain": 3}', "device.json: RenderSettings has no setting 'gain'; it knows .*gain_db"),
        ('{"pulse_mm": 50}', "pulse_mm is 50.0 mm; expected a value from 0.02 to 5.0"),
        ('{"tgc_sliders_db": [1, 2]}', "expected 8 finite numbers"),
        ("[1, 2]", "holds list; expected settings of the renderer by name"),
        ("{a: [", "cannot be read as JSON or YAML"),
    ],
)
def test_what_is_wrong_with_a_device_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "device.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_device(path)


def test_a_missing_device_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        read_device(tmp_path / "none.json")
