from dataclasses import replace

import numpy as np
import pytest

from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.phantoms import SOFT_PLATE
from us_recon.simulation.scanner.beam import Beam, BeamSettings
from us_recon.simulation.scanner.compression import Compression, CompressionSettings
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.testbench import CONVEX, LINEAR, PHASED, QUIET, plate

PRESSED = replace(QUIET, compression_mm=5.0, compression_depth_mm=30.0)


def compression(geometry: ProbeGeometry, push_mm: float, fade_mm: float) -> Compression:
    beam = Beam(geometry, BeamSettings(aperture_mm=20.0))
    return Compression(beam, CompressionSettings(push_mm, fade_mm))


def test_where_tissue_lay() -> None:
    # 5 mm at the face, 5/e = 1.84 mm at 30 mm; 30 mm beside the face of 19.2 mm exp(-1/2) of it.
    image = np.array([[0.0, 0.0, 0.0], [4.0, 30.0, 1.0], [-49.2, 0.0, 0.0]])
    tissue = compression(LINEAR, 5.0, 30.0).tissue_mm(image)
    expected = [[0.0, -5.0, 0.0], [4.0, 30.0 - 1.839, 1.0], [-49.2, -3.033, 0.0]]
    np.testing.assert_allclose(tissue, expected, atol=1e-3)


def test_a_round_face_pushes_all_along_it() -> None:
    # The face's edge at 30 degrees on a radius of 40 mm: x = 20, y = 40 cos 30 - 40 = -5.36.
    edge = np.array([[20.0, -5.359, 0.0], [0.0, 0.0, 0.0]])
    tissue = compression(CONVEX, 5.0, 30.0).tissue_mm(edge)
    np.testing.assert_allclose(edge[:, 1] - tissue[:, 1], 5.0, atol=1e-3)


@pytest.mark.parametrize("geometry", [LINEAR, CONVEX, PHASED])
@pytest.mark.parametrize(("push_mm", "fade_mm"), [(5.0, 30.0), (20.0, 10.0)])
def test_displacement_undoes_the_lookup(
    geometry: ProbeGeometry, push_mm: float, fade_mm: float
) -> None:
    # The second is the worst that the settings allow.
    squeeze = compression(geometry, push_mm, fade_mm)
    points = geometry.beam_points_mm[::5, ::9].reshape(-1, 2)
    points = np.column_stack([points, np.full(len(points), 0.7)])
    tissue = squeeze.tissue_mm(points)
    back = tissue + squeeze.displacement_mm(tissue)
    np.testing.assert_allclose(back, points, atol=2e-3)
    assert np.abs(tissue - points).max() == pytest.approx(push_mm, rel=0.01)


def test_a_plate_is_seen_where_the_formula_says() -> None:
    # y - 5 exp(-y / 30) = 25 has the solution 27.03: 27.03 - 5 * 0.4062 = 25.00.
    scene = plate(plate=replace(SOFT_PLATE, reflectivity=0.3))
    for settings, expected_mm in ((QUIET, 25.0), (PRESSED, 27.03)):
        level = Imager(scene, LINEAR, settings).beams_db(np.eye(4))[96]
        found_mm = float(np.argmax(level)) * LINEAR.sample_step_mm
        assert found_mm == pytest.approx(expected_mm, abs=0.1)


def test_speckle_follows_the_tissue() -> None:
    scene = plate(2.0)
    free = np.abs(Imager(scene, LINEAR, QUIET, seed=3).echo_signal(np.eye(4)))
    pressed = np.abs(Imager(scene, LINEAR, PRESSED, seed=3).echo_signal(np.eye(4)))
    depth_mm = LINEAR.sample_depths_mm[250:480]
    lay_mm = depth_mm - 5.0 * np.exp(-depth_mm / 30.0)
    moved = [np.interp(lay_mm, LINEAR.sample_depths_mm, beam) for beam in free[20:-20]]
    same = correlation(np.array(moved), pressed[20:-20, 250:480])
    other = correlation(free[20:-20, 250:480], pressed[20:-20, 250:480])
    assert same > 0.85
    assert abs(other) < 0.1


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two envelopes whose fall with depth is taken out."""
    first, second = (part / part.mean(axis=0) for part in (first, second))
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_patterns_on_surfaces_follow_the_tissue_too() -> None:
    # The plate's patches are the same before and after: it moves along the beams only.
    patchy = replace(SOFT_PLATE, reflectivity=0.3, patchiness_db=6.0)
    scene = plate(plate=patchy, backscatter_db=-80.0, plate_tissue="gel")
    faces = [
        Imager(scene, LINEAR, settings).beams_db(np.eye(4))[20:-20, 195:255].max(axis=1)
        for settings in (QUIET, PRESSED)
    ]
    assert np.std(faces[0]) > 2.0
    assert np.corrcoef(faces[0], faces[1])[0, 1] > 0.95


def test_no_push_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a push nothing of the deformation is evaluated, so no rounding either.
    scene = plate(2.0)
    still = replace(QUIET, compression_mm=0.0, compression_depth_mm=17.0)
    expected = Imager(scene, LINEAR, QUIET).image(np.eye(4))
    monkeypatch.setattr(Compression, "_push_mm", None)
    assert Imager(scene, LINEAR, still).image(np.eye(4)).tobytes() == expected.tobytes()
    points = np.ones((3, 3))
    assert compression(LINEAR, 0.0, 30.0).tissue_mm(points) is points
    assert not compression(LINEAR, 0.0, 30.0).displacement_mm(points).any()
