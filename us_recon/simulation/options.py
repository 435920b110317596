"""A virtual cell from settings written as text, whichever part of it they belong to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from us_recon.errors import ConfigError
from us_recon.settings import from_mapping, overridden, value_from_text
from us_recon.simulation.catalogue import PatientKind, patient_kind
from us_recon.simulation.cell import CellSettings, ScanningCell, make_cell
from us_recon.simulation.robot import SweepSettings
from us_recon.simulation.scanner.imager import ImagerSettings
from us_recon.simulation.tracker import TrackerSettings

Values = dict[str, Any]
PARTS: tuple[type, ...] = (SweepSettings, TrackerSettings, CellSettings, ImagerSettings)


def cell_from_options(scene: str, probe: str, seed: int, texts: Sequence[str]) -> ScanningCell:
    """Return a cell with settings such as ``["sweep=fan", "noise_mm=0.3", "gain_db=6"]``.

    Args:
        scene: Name of a patient in the catalogue.
        probe: "linear", "convex" or "phased".
        seed: Seed of everything that is random.
        texts: Settings as "name=value" of sweep, tracker, acquisition, scanner or patient.

    Raises:
        ConfigError: A text that is no setting, or a value that is not allowed.
        InputError: Unknown scene or probe.
    """
    kind = patient_kind(scene)
    return cell_from_values(scene, probe, seed, sorted_by_part(texts, kind))


def cell_from_values(
    scene: str,
    probe: str,
    seed: int,
    values: Mapping[type, Values],
) -> ScanningCell:
    """Return a cell whose parts have these settings; what is not given keeps its default."""
    kind = patient_kind(scene)
    return make_cell(
        scene,
        probe,
        seed,
        sweep=overridden(kind.sweep, values.get(SweepSettings, {})),
        tracker=from_mapping(TrackerSettings, values.get(TrackerSettings, {})),
        settings=from_mapping(CellSettings, values.get(CellSettings, {})),
        imager=from_mapping(ImagerSettings, values.get(ImagerSettings, {})),
        patient=values.get(kind.settings, {}),
    )


def sorted_by_part(texts: Iterable[str], kind: PatientKind) -> dict[type, Values]:
    """Read settings written as "name=value" and sort them by the part they belong to.

    Raises:
        ConfigError: A text without "=", a name that no part has, or a value of another type.
    """
    known = owners(kind)
    values: dict[type, Values] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(f"setting {text!r}; expected name=value, as in noise_mm=0.3")
        if name not in known:
            raise ConfigError(f"no setting {name!r}; expected one of {', '.join(sorted(known))}")
        part, item = known[name]
        values.setdefault(part, {})[name] = value_from_text(item, value)
    return values


def owners(kind: PatientKind) -> dict[str, tuple[type, "Field[Any]"]]:
    """Return the part that each setting of a cell belongs to, by name."""
    return {item.name: (part, item) for part in (*PARTS, kind.settings) for item in fields(part)}
