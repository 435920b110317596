"""Numbers of pairs, and the parts of a mesh."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from us_recon.occupancy.connected import connected_parts
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.mesh_tools import to_open3d
from us_recon.occupancy.pairs import distinct_pairs

small = st.integers(0, 5)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(small, st.integers(-(1 << 62), 1 << 62) | small), max_size=40))
def test_equal_pairs_have_equal_numbers(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    number, place = distinct_pairs(first, second)
    seen = list(dict.fromkeys(pairs))
    assert number.tolist() == [seen.index(pair) for pair in pairs]
    assert place.tolist() == [pairs.index(pair) for pair in seen]


def test_parts_by_hand() -> None:
    # Two triangles with a common side, one that touches them at a corner alone, one apart; the
    # last joins it.
    triangles = np.array([[0, 1, 2], [3, 4, 5], [2, 1, 6], [6, 7, 8], [5, 4, 9]], np.int32)
    assert connected_parts(triangles).tolist() == [0, 1, 0, 2, 1]
    assert connected_parts(triangles[:0]).tolist() == []


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.sets(st.integers(0, 14), min_size=3, max_size=3), min_size=1, max_size=25))
def test_parts_are_those_that_open3d_finds(corners: list[set[int]]) -> None:
    triangles = np.array([sorted(three) for three in corners], np.int32)
    mesh = Mesh(np.random.default_rng(0).normal(size=(15, 3)).astype(np.float32), triangles)
    theirs = np.asarray(to_open3d(mesh).cluster_connected_triangles()[0])
    ours = connected_parts(triangles)
    same = ours[:, None] == ours
    np.testing.assert_array_equal(same, theirs[:, None] == theirs)
