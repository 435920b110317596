"""Look-up at whole blocks against look-up at points, its readable twin."""

from collections.abc import Callable

import numpy as np
import pytest

from us_recon.occupancy.field.block_look_up import look_up_blocks
from us_recon.occupancy.field.fit import FieldFit
from us_recon.occupancy.field.interpolation import look_up
from us_recon.occupancy.field.lattice import FeatureLattice
from us_recon.occupancy.field.replay import Replay


def voxels_mm(blocks: np.ndarray, side: int, voxel_mm: float) -> np.ndarray:
    inner = np.argwhere(np.ones((side, side, side))) * (8 // side)
    voxels = (8 * blocks[:, None] + inner).reshape(-1, 3).astype(np.float32)
    return voxels * np.float32(voxel_mm)


def lattice(spacing_mm: float) -> FeatureLattice:
    """Return a lattice of random features with holes: every third block is not there."""
    random = np.random.default_rng(0)
    made = FeatureLattice(spacing_mm, 1000)
    for index in np.argwhere(random.random((4, 4, 4)) < 0.65) - 2:
        made.cover(((8 * index + 3.5) * spacing_mm).astype(np.float32)[None])
    made.values[:] = random.normal(size=made.values.shape)
    return made


@pytest.mark.parametrize("spacing_mm", [1.0, 4.0])
@pytest.mark.parametrize("voxel_mm", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("side", [8, 4, 2])
def test_blocks_and_points_agree(spacing_mm: float, voxel_mm: float, side: int) -> None:
    made = lattice(spacing_mm)
    reach = int(np.ceil(2 * spacing_mm / voxel_mm))
    blocks = np.random.default_rng(1).integers(-reach, reach, (60, 3))
    features = np.full((60, side, side, side, 4), np.nan, np.float32)
    storage = (made.low, made.directory, made.values)
    look_up_blocks(blocks, 8 // side, voxel_mm, spacing_mm, *storage, features, 1)
    points = voxels_mm(blocks, side, voxel_mm)
    count = len(points)
    expected = np.empty((count, 2), np.float32)
    spare = np.empty((count, 8), np.int32), np.empty((count, 8), np.float32)
    look_up(points, spacing_mm, *storage, expected, 0, *spare)
    assert (expected != 0).mean() > 0.1
    assert (expected == 0).mean() > 0.1
    np.testing.assert_allclose(features[..., 1:3].reshape(-1, 2), expected, atol=1e-4)
    assert np.isnan(features[..., [0, 3]]).all()


@pytest.mark.parametrize("side", [8, 4])
def test_log_odds_are_those_of_points(
    started: Callable[..., tuple[FieldFit, Replay]], side: int
) -> None:
    fit, replay = started()
    for _ in range(10):
        fit.step(replay)
    blocks = fit.lattices[-1].blocks()
    wanted = np.random.default_rng(0).random((len(blocks), side, side, side)) < 0.3
    points = voxels_mm(blocks, side, 1.0)[wanted.reshape(-1)]
    expected = fit.log_odds(points)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(fit.log_odds_in(blocks, 1.0, wanted), expected, atol=1e-4)
    assert len(fit.log_odds_in(blocks[:0], 1.0, wanted[:0])) == 0
