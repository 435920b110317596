from dataclasses import dataclass

import pytest

from us_recon.errors import ConfigError
from us_recon.settings import from_mapping, setting, value_from_text


@dataclass(frozen=True)
class Example:
    spacing_mm: float = setting(1.0, "Voxel edge.", unit="mm", minimum=0.1, maximum=5.0)
    count: int = setting(3, "How many.", minimum=1)
    method: str = setting("tsdf", "Which.", choices=("tsdf", "log_odds"))
    on: bool = setting(True, "Whether.")
    place_mm: tuple[float, ...] = setting((0.0, 0.0, 0.0), "Where.", unit="mm")


def test_values_replace_defaults_and_integers_serve_as_floats() -> None:
    made = from_mapping(Example, {"spacing_mm": 2, "method": "log_odds", "place_mm": [1, 2, 3]})
    assert made == Example(spacing_mm=2.0, method="log_odds", place_mm=(1.0, 2.0, 3.0))
    assert isinstance(made.spacing_mm, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spacing": 1.0}, "no setting 'spacing'; it knows count, method, on, place_mm, spac"),
        ({"spacing_mm": 9.0}, "spacing_mm is 9.0 mm; expected a value from 0.1 to 5.0 mm"),
        ({"spacing_mm": float("nan")}, "finite"),
        ({"count": 0}, "from 1 to inf"),
        ({"count": True}, "expected int"),
        ({"count": 1.5}, "expected int"),
        ({"method": "voxels"}, "one of tsdf, log_odds"),
        ({"on": 1}, "expected bool"),
        ({"place_mm": [1, 2]}, "expected 3 finite numbers"),
        ({"place_mm": "abc"}, "expected 3 numbers"),
    ],
)
def test_bad_values_are_refused_with_their_reason(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Example, values)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("spacing_mm", "2", 2.0),
        ("count", "7", 7),
        ("method", "log_odds", "log_odds"),
        ("on", "No", False),
        ("place_mm", "1, 2.5 3", (1.0, 2.5, 3.0)),
    ],
)
def test_text_is_read_in_the_type_of_its_field(name: str, text: str, value: object) -> None:
    found = value_from_text(Example.__dataclass_fields__[name], text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("on", "maybe", "on is 'maybe'; expected true or false"),
        ("count", "1.5", "expected a whole number"),
        ("place_mm", "1 a", "expected numbers"),
    ],
)
def test_text_of_another_type_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        value_from_text(Example.__dataclass_fields__[name], text)
