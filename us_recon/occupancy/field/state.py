"""Everything that a field needs to go on, as plain arrays."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.brightness import Calibration
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.lattice import LatticeArrays
from us_recon.occupancy.field.replay import Replay
from us_recon.occupancy.field.scanlines import LineGeometry

Arrays = dict[str, Any]


def fit_state(fit: FieldFit) -> Arrays:
    """Return features, network, clutter, the optimiser and the random choices to come."""
    arrays: Arrays = {
        "fit": _text({"steps": fit.steps, "random": fit.random.bit_generator.state}),
        "clutter_moments": fit.clutter_moments,
    }
    if fit.clutter is not None:
        arrays["clutter"] = fit.clutter
    for level, lattice in enumerate(fit.lattices):
        for name, values in vars(lattice.arrays()).items():
            arrays[f"level{level}_{name}"] = values
    for name in ("weights", "mean", "square"):
        for layer, values in enumerate(getattr(fit.network, name)):
            arrays[f"network_{name}{layer}"] = values
    return arrays


def restore_fit(fit: FieldFit, arrays: Mapping[str, Any]) -> None:
    """Let a new fit go on where `fit_state` was called."""
    told = json.loads(str(arrays["fit"]))
    fit.steps = told["steps"]
    fit.random.bit_generator.state = told["random"]
    fit.clutter_moments = arrays["clutter_moments"].copy()
    if "clutter" in arrays:
        fit.clutter = arrays["clutter"].copy()
    for level, lattice in enumerate(fit.lattices):
        names = ("blocks", "values", "mean", "square")
        lattice.restore(LatticeArrays(*(arrays[f"level{level}_{name}"] for name in names)))
    for name in ("weights", "mean", "square"):
        for layer, values in enumerate(getattr(fit.network, name)):
            values[:] = arrays[f"network_{name}{layer}"]


def replay_state(replay: Replay, calibration: Calibration) -> Arrays:
    """Return the frames held, and what the recording's brightness means."""
    told = {
        "arrived": replay.arrived,
        "stride": replay.stride,
        "first": replay.lines.first,
        "geometry": asdict(replay.lines.geometry),
        "calibration": {
            "frames": calibration.frames,
            "floor": calibration.floor,
            "tissue": calibration.tissue,
        },
    }
    arrays: Arrays = {"replay": _text(told), "by_depth": calibration.by_depth}
    frames = replay.array()
    return arrays | {f"frames_{name}": frames[name] for name in frames.dtype.names}


def restored_replay(arrays: Mapping[str, Any], memory_mb: float) -> tuple[Replay, Calibration]:
    """Return what `replay_state` described."""
    told = json.loads(str(arrays["replay"]))
    values = told["geometry"]
    geometry = ProbeGeometry.from_fields(values)
    regions = "frames_outside_mm" in arrays
    replay = Replay(LineGeometry(geometry, told["first"]), memory_mb, regions)
    columns = {
        name.removeprefix("frames_"): column
        for name, column in arrays.items()
        if name.startswith("frames_")
    }
    replay.restore(columns, told["arrived"], told["stride"])
    return replay, Calibration(**told["calibration"], by_depth=arrays["by_depth"])


def _text(values: Mapping[str, Any]) -> np.ndarray:
    return np.array(json.dumps(values))
