from dataclasses import replace

import numpy as np
import pytest

from us_recon.errors import ConfigError
from us_recon.simulation.phantoms import SOFT_PLATE, Phantom
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.scene import SceneGrid, on_grid
from us_recon.simulation.testbench import BONE, LINEAR, QUIET, plate


def column_mm(scene: SceneGrid, **changes: float) -> np.ndarray:
    """Return the labelled depths in the middle of the image."""
    label = Imager(scene, LINEAR, replace(QUIET, **changes)).label(np.eye(4))
    assert set(np.unique(label)) <= {0, 255}
    return np.flatnonzero(label[:, LINEAR.width_px // 2]) * LINEAR.spacing_y_mm


def test_a_solid_is_marked_inside() -> None:
    # A soft plate from 25 to 33 mm, whose tissue is sound's ordinary way.
    soft = plate(plate=SOFT_PLATE, plate_tissue="muscle", plate_half_width_mm=8.0)
    solid = replace(soft, target="plate", target_is_solid=True)
    depths = column_mm(solid)
    assert depths.min() == pytest.approx(25.0, abs=0.3)
    assert depths.max() == pytest.approx(33.0, abs=0.3)
    label = Imager(solid, LINEAR, QUIET).label(np.eye(4))
    assert label.any(axis=0).sum() * LINEAR.spacing_x_mm == pytest.approx(16.0, abs=0.6)


def test_a_solid_is_marked_until_its_own_shadow_hides_it() -> None:
    # Made of bone it takes 2 * 5 MHz * (6.9 - 0.6) = 63 dB/cm more than soft tissue, and from
    # 24.5 to 25.5 mm it begins: 20 dB after 3.2 mm. The 25 mm in front took 2.5 dB less than soft
    # tissue (0.5 for 0.6), which is another 0.4 mm: 28.6 mm.
    hard = replace(plate(plate=SOFT_PLATE), target="plate", target_is_solid=True)
    assert column_mm(hard).max() == pytest.approx(28.6, abs=0.4)
    # 10 dB less is 1.6 mm less.
    assert column_mm(hard, label_shadow_db=10.0).max() == pytest.approx(27.0, abs=0.4)


def test_a_face_is_marked_only_where_it_belongs_to_the_target() -> None:
    bone = plate(plate=BONE)
    assert column_mm(replace(bone, target="bone"), label_depth_mm=2.0).max() == pytest.approx(
        27.0, abs=0.3
    )
    # What blocks is not the target: the target is hidden behind it.
    two = replace(
        bone,
        interfaces=(BONE, replace(BONE, name="deeper")),
        fields=bone.fields[[0, 1, 2, 3, 3]] + np.float32(0),
        target="deeper",
    )
    two.fields[4] += 5.0
    assert column_mm(two).size == 0
    assert column_mm(replace(two, target="bone")).size > 0


def test_the_target_comes_from_the_scene_and_must_exist() -> None:
    grid = on_grid(Phantom(plate=SOFT_PLATE, target_is_solid=True), 5.0, 2.0)
    assert (grid.target, grid.target_is_solid) == ("plate", True)
    none = on_grid(Phantom(), 5.0, 3.0)
    assert (none.target, none.target_is_solid) == ("", False)
    with pytest.raises(ConfigError, match=r"target is 'stone'.*plate"):
        Imager(replace(grid, target="stone"), LINEAR).label(np.eye(4))
