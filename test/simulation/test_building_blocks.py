"""Tissue table, noise, scatterers, beam and solids: the parts that the scanner is made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.simulation.noise import smooth_noise
from us_recon.simulation.patients.sdf import capsule, elliptic_cylinder, rounded_box, smooth_union
from us_recon.simulation.scanner.beam import FWHM_PER_SIGMA, Beam, BeamSettings
from us_recon.simulation.scanner.scatterers import ScattererLattice
from us_recon.simulation.tissue import TISSUES, reflection_coefficient

LINEAR = ProbeGeometry.linear(
    30.0, 40.0, 120, 160, beam_count=100, sample_count=400, centre_frequency_mhz=5.0
)
CONVEX = ProbeGeometry.sector(
    ProbeKind.CONVEX, 30.0, 70.0, 50.0, 200, beam_count=90, centre_frequency_mhz=4.0
)
PHASED = ProbeGeometry.sector(
    ProbeKind.PHASED, 0.0, 80.0, 50.0, 200, beam_count=90, centre_frequency_mhz=3.0
)


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_reflection_at_bone_and_air() -> None:
    # Muscle: 1050 * 1547 = 1.624 MRayl, bone: 1975 * 3476 = 6.865 MRayl;
    # (6.865 - 1.624) / (6.865 + 1.624) = 0.617. Air reflects all of it, with the other sign.
    assert reflection_coefficient("muscle", "bone") == pytest.approx(0.617, abs=0.001)
    assert reflection_coefficient("muscle", "air") == pytest.approx(-1.0, abs=0.001)


@pytest.mark.parametrize("name", sorted(TISSUES))
def test_every_tissue_is_plausible_and_has_a_source(name: str) -> None:
    tissue = TISSUES[name]
    assert tissue.source
    assert 300.0 < tissue.speed_m_s < 4500.0 and 1.0 <= tissue.density_kg_m3 < 2500.0
    # 5 MHz: twice the exponent, 25 times the loss of water; five times that of muscle.
    assert tissue.attenuation_at(5.0) == pytest.approx(
        tissue.attenuation_db_cm * 5.0**tissue.exponent
    )


def test_noise_is_standard_and_a_function_of_place_and_seed() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 200.0, (20000, 3)).astype(np.float32)
    values = smooth_noise(places, 5.0, seed=1)
    assert values.mean() == pytest.approx(0.0, abs=0.05)
    assert values.std() == pytest.approx(1.0, abs=0.05)
    # The same place among other places has the same value.
    np.testing.assert_allclose(smooth_noise(places[100:110], 5.0, 1), values[100:110], atol=1e-4)
    assert abs(np.corrcoef(values, smooth_noise(places, 5.0, seed=2))[0, 1]) < 0.05
    # A tenth of a cell away it is nearly the same, three cells away it is another.
    near = smooth_noise(places + np.float32(0.5), 5.0, 1)
    far = smooth_noise(places + np.float32(15.0), 5.0, 1)
    assert np.corrcoef(values, near)[0, 1] > 0.9
    assert abs(np.corrcoef(values, far)[0, 1]) < 0.05


def test_noise_does_not_vary_along_an_infinite_cell() -> None:
    line = points((3.0, -50.0, 8.0), (3.0, 0.0, 8.0), (3.0, 90.0, 8.0))
    assert np.ptp(smooth_noise(line, (5.0, np.inf, 5.0), 4)) < 1e-6


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    st.tuples(*[st.floats(-60.0, 60.0)] * 3),
    st.sampled_from([LINEAR, CONVEX]),
)
def test_no_scatterer_near_the_plane_is_missed(
    turn: tuple[float, float, float], shift: tuple[float, float, float], geometry: ProbeGeometry
) -> None:
    # Every image point must have a scatterer within the diagonal of a lattice cell and a jitter,
    # and the density must be one per cell, for any pose.
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    T[:3, 3] = shift
    pitch_mm, half_mm = 1.5, 2.0
    found = ScattererLattice(pitch_mm, seed=1).near_plane(T, geometry, half_mm, 1.0)
    inside = found.plane_mm[:, np.abs(found.plane_mm[2]) < half_mm]
    beam, sample = geometry.mm_to_beams(inside[:2].T.astype(np.float64)).T
    kept = (beam > 0) & (beam < geometry.beam_count - 1)
    kept &= (sample > 0) & (sample < geometry.sample_count - 1)
    corners = geometry.beam_points_mm[[0, -1, -1, 0], [0, 0, -1, -1]]
    area = 0.5 * abs(
        np.dot(corners[:, 0], np.roll(corners[:, 1], 1))
        - np.dot(corners[:, 1], np.roll(corners[:, 0], 1))
    )
    if geometry.kind is ProbeKind.CONVEX:
        opening = np.radians(70.0)
        area = 0.5 * opening * (80.0**2 - 30.0**2)
    assert kept.sum() == pytest.approx(area * 2.0 * half_mm / pitch_mm**3, rel=0.08)
    grid = geometry.beam_points_mm[::6, ::10].reshape(-1, 2)
    distance, _ = cKDTree(inside.T).query(np.column_stack([grid, np.zeros(len(grid))]))
    assert distance.max() < 2.0 * np.sqrt(3.0) * pitch_mm


def test_two_planes_see_the_same_scatterers_where_they_meet() -> None:
    T = np.eye(4)
    T[:3, 3] = [3.3, -1.0, 7.0]
    turned = T.copy()
    turned[:3, :3] = Rotation.from_euler("y", 30, degrees=True).as_matrix()
    lattice = ScattererLattice(1.0, seed=5)
    seen = []
    for pose in (T, turned):
        found = lattice.near_plane(pose, LINEAR, 2.0, 1.0)
        scene = pose[:3, :3] @ found.plane_mm + pose[:3, 3:]
        seen.append((scene.T, found.phase_rad))
    middle = np.array([3.3, 19.0, 7.0])
    near = np.linalg.norm(seen[0][0] - middle, axis=1) < 1.5
    distance, match = cKDTree(seen[1][0]).query(seen[0][0][near])
    assert near.sum() > 5 and distance.max() < 1e-3
    np.testing.assert_allclose(seen[0][1][near], seen[1][1][match])


@pytest.mark.parametrize("geometry", [LINEAR, CONVEX, PHASED])
def test_fast_beam_lookup_agrees_with_the_geometry(geometry: ProbeGeometry) -> None:
    grid = geometry.beam_points_mm[::7, 3::11].reshape(-1, 2)
    grid = grid + np.random.default_rng(1).normal(0.0, 0.3, grid.shape)
    expected = geometry.mm_to_beams(grid)
    x, y = grid.astype(np.float32).T
    found = np.stack(Beam(geometry, BeamSettings()).locate(x, y), axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_widths_follow_from_wavelength_and_f_number() -> None:
    # 1.54 mm/us / 5 MHz = 0.308 mm. At the focus 0.308 * 2 = 0.616 mm; at 80 mm, beyond 20 mm of
    # aperture, the f-number is 4 and the defocus 1 + 0.5 * (5/3)^2 = 2.39 under the root.
    beam = Beam(LINEAR, BeamSettings(f_number=2.0, aperture_mm=20.0, focus_mm=30.0, defocus=0.5))
    widths = beam.lateral_fwhm_mm(np.array([30.0, 80.0]))
    np.testing.assert_allclose(widths, [0.616, 0.308 * 4 * np.sqrt(1 + 0.5 * (5 / 3) ** 2)])
    # Two cycles last 0.616 mm of path, there and back: 0.308 mm of depth.
    assert beam.axial_fwhm_mm == pytest.approx(0.308)


def test_an_impulse_becomes_the_point_spread_function() -> None:
    beam = Beam(LINEAR, BeamSettings())
    transfer = beam.transfer()
    impulse = np.zeros((100, 400), np.complex64)
    impulse[50, 240] = 1.0
    spread = np.abs(transfer.blur_along(transfer.blur_across(impulse)))
    beams = np.arange(-6, 7)
    across = spread[44:57, 240]
    sigma = np.sqrt((across * beams**2).sum() / across.sum()) * 0.3  # pitch: 30 mm / 100
    expected = beam.lateral_fwhm_mm(LINEAR.sample_depths_mm)[240] / FWHM_PER_SIGMA
    assert sigma == pytest.approx(expected, rel=0.02)
    along = spread[50, 232:249]
    samples = np.arange(-8, 9)
    sigma = np.sqrt((along * samples**2).sum() / along.sum()) * LINEAR.sample_step_mm
    assert sigma == pytest.approx(beam.axial_sigma_mm, rel=0.02)
    # A whole surface keeps its amplitude.
    surface = np.zeros((100, 400), np.complex64)
    surface[:, 240] = 3.0
    kept = np.abs(transfer.blur_along(transfer.blur_across(surface)))[50]
    assert kept.max() == pytest.approx(3.0, rel=0.01)


def test_solids_by_hand() -> None:
    # A rod from 0 to 10 along x, radius 2 growing to 3: 5 above its start the distance is 3,
    # 6 above its end it is 3, and 4 before its start it is 2.
    rod = capsule(points((0, 5, 0), (10, 6, 0), (-4, 0, 0)), (0, 0, 0), (10, 0, 0), 2.0, 3.0)
    np.testing.assert_allclose(rod, [3.0, 3.0, 2.0], atol=1e-5)
    # A box of half edges 1, 2, 3 at the origin: (4, 0, 0) is 3 away, (0, 0, 0) is 1 inside.
    box = rounded_box(points((4, 0, 0), (0, 0, 0)), (0, 0, 0), (1, 2, 3), 0.5)
    np.testing.assert_allclose(box, [3.0, -1.0], atol=1e-5)
    # A round cylinder of radius 5 and half height 4: 2 beside, 3 above, 1 below its lid.
    cylinder = elliptic_cylinder(points((7, 0, 0), (0, 0, 7), (0, 0, 3)), (0, 0, 0), 5.0, 5.0, 4.0)
    np.testing.assert_allclose(cylinder, [2.0, 3.0, -1.0], atol=1e-4)


def test_smooth_union_is_a_union_with_a_fillet() -> None:
    near, far = np.array([1.0, -2.0], np.float32), np.array([9.0, 7.0], np.float32)
    np.testing.assert_allclose(smooth_union(near, far, 4.0), near)
    # Both at distance 1 with a blend of 4: 1 - 4 / 4 = 0.
    both = np.array([1.0], np.float32)
    np.testing.assert_allclose(smooth_union(both, both, 4.0), [0.0])
