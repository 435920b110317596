import numpy as np
import pytest

from us_recon.geometry.rigid import from_euler_xyz_deg
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.mapper import MapperSettings, OccupancyMapper


@pytest.mark.parametrize("height_mm", [99.5, 100.0, 100.25])
def test_a_plane_on_the_voxel_lattice_is_meshed_like_any_other(height_mm: float) -> None:
    # The surface starts 20 mm below the array: 80 mm up where the array is 100 mm up, a multiple
    # of the voxel and of the block, where every value on the plane is exactly zero.
    geometry = ProbeGeometry.linear(30.0, 40.0, 60, 80, beam_count=60, sample_count=160)
    depth_mm = geometry.pixels_to_mm(geometry.pixel_grid)[..., 1]
    label = ((depth_mm > 20.0) & (depth_mm < 22.0)).astype(np.uint8)
    mapper = OccupancyMapper(MapperSettings(method="tsdf", spacing_mm=1.0))
    for k in range(20):
        T = from_euler_xyz_deg(np.array([0.0, float(k), height_mm]), np.array([-90.0, 0.0, 0.0]))
        mapper.integrate(TrackedFrame(k, label, T, geometry, label))
    mesh = mapper.snapshot().mesh
    # 30 mm of beams over 19 mm of sweep, and half a millimetre more or less all around.
    assert mesh.area_mm2 == pytest.approx(30 * 19, rel=0.25)
    np.testing.assert_allclose(mesh.vertices_mm[:, 2], height_mm - 20.0, atol=0.3)
