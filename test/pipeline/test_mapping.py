"""What node and replay share of a mapping run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.pipeline.mapping import (
    save_map_outputs,
    save_settled_map_outputs,
    steps_under_backlog,
)
from us_recon.simulation.cell import CellSettings, make_cell
from us_recon.simulation.robot import SweepSettings

SWEEP = SweepSettings(sweep="linear", length_mm=6.0)
CELL = CellSettings(image_rate_hz=10.0, grid_mm=1.5)


@pytest.mark.parametrize(("waiting", "steps"), [(0, 4), (2, 4), (3, 2), (8, 2), (9, 1), (1000, 1)])
def test_steps_drop_from_four_to_two_to_one(waiting: int, steps: int) -> None:
    assert steps_under_backlog(waiting, 4) == steps


def test_there_is_always_a_step_unless_none_is_wanted() -> None:
    assert steps_under_backlog(100, 1) == 1
    assert steps_under_backlog(100, 0) == 0


@pytest.mark.parametrize("method", ["tsdf", "field"])
def test_a_field_settles_before_its_last_mesh(method: str, tmp_path: Path) -> None:
    frames = list(make_cell("long_bone", "linear", 2, SWEEP, settings=CELL).tracked_frames())

    def written(write: Callable[..., object], folder: str) -> tuple[bytes, int]:
        mapper = OccupancyMapper(MapperSettings(method=method, settle_steps=50))
        for frame in frames:
            mapper.integrate(frame)
        write(mapper, tmp_path / folder)
        again = OccupancyMapper.load(tmp_path / folder / "map.npz")
        steps = again.map.fit.steps if method == "field" else None  # type: ignore[attr-defined]
        assert json.loads((tmp_path / folder / "mapping.json").read_text())["field_steps"] == steps
        return (tmp_path / folder / "mesh.ply").read_bytes(), steps or 0

    (as_it_is, steps), (settled, more) = (
        written(save_map_outputs, "as_it_is"), written(save_settled_map_outputs, "settled")
    )  # fmt: skip
    assert (as_it_is == settled) == (method == "tsdf")
    assert more - steps == (50 if method == "field" else 0)
