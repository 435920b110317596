"""The mapper on a real recording, without labels, against the bone's CT surface."""

from pathlib import Path

import pytest

from us_recon.evaluation.mesh_metrics import score_mesh
from us_recon.evaluation.visibility import View
from us_recon.io.ultrabones import read_leg_recording
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh_files import read_mesh


@pytest.mark.parametrize("method", ["tsdf", "log_odds"])
def test_fibula_without_labels(data_dir: Path, method: str) -> None:
    # The bars of the first version; benchmarks/results/bone_leg.md has the figures.
    folder = data_dir / "ultrabones_leg"
    mapper = OccupancyMapper(MapperSettings(method=method))
    views = []
    for frame in read_leg_recording(folder).tracked_frames():
        mapper.integrate(frame)
        views.append(View(frame.T_world_transducer, frame.geometry))
    score = score_mesh(mapper.snapshot().mesh, read_mesh(folder / "Fibula.stl"), views, 15.0)
    assert score.to_truth is not None
    assert score.to_truth.median_mm <= 1.0
    assert score.to_truth.p95_mm <= 6.0
    assert score.completeness(2) >= 0.75
