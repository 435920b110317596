import numpy as np
from scipy.ndimage import map_coordinates

from us_recon.simulation.lookup import look_up
from us_recon.simulation.scene import CONTACT, LEVEL_SETS
from us_recon.simulation.testbench import plate


def test_lookup_agrees_with_scipy_within_and_beyond_the_grid() -> None:
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(5, 6, 7, 3)).astype(np.float32)
    index = rng.uniform(-2.0, 9.0, (500, 3)).astype(np.float32)
    index[:2] = [[4.0, 5.0, 6.0], [0.0, 0.0, 0.0]]
    expected = [map_coordinates(fields[..., c], index.T, order=1, mode="nearest") for c in range(3)]
    np.testing.assert_allclose(look_up(fields, index), expected, atol=1e-5)


def test_the_grid_holds_the_contact_distance() -> None:
    # The phantom's skin is y = 0; its grid begins 2 mm above, further up the distance grows on.
    grid = plate(plate=None)
    assert grid.fields.shape[0] == LEVEL_SETS
    points = np.array([[0, 0, 0], [3, 7.5, 1], [0, -1.5, 0], [0, -30.0, 0]], dtype=np.float32)
    np.testing.assert_allclose(grid.contact_distance_mm(points), [0, -7.5, 1.5, 30.0], atol=1e-4)
    np.testing.assert_allclose(grid.fields_at(points)[CONTACT], [0, -7.5, 1.5, 2.0], atol=1e-4)
