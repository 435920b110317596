"""Drawn heads: the truth adds up, the front and the back are apart, the seed decides."""

import numpy as np
import pytest

from us_recon.acoustics.classifier import CLASSES
from us_recon.acoustics.virtual_heads import VirtualHead, virtual_head


@pytest.fixture(scope="module")
def head() -> VirtualHead:
    return virtual_head("t1", 1006, crop="front")


def test_shares_sum_to_one(head: VirtualHead) -> None:
    assert np.allclose(head.shares.sum(axis=0)[head.known], 1.0, atol=1e-4)
    assert head.shares.min() >= -1e-5


def test_white_matter_is_brighter_than_grey_on_t1(head: VirtualHead) -> None:
    csf, grey, white = (
        head.volume.data[head.shares[CLASSES.index(name)] > 0.9].mean()
        for name in ("csf", "grey_matter", "white_matter")
    )
    assert csf < grey < white


def test_no_voxel_is_both_front_and_back(head: VirtualHead) -> None:
    front, back = head.half(front=True), head.half(front=False)
    assert front.any() and not (front & back).any()


def test_the_seed_decides(head: VirtualHead) -> None:
    again = virtual_head("t1", 1006, crop="front")
    assert np.array_equal(again.volume.data, head.volume.data)
