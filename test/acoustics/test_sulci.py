"""Sulci that an MRI shows as fluid, as white matter that hangs on none, or not at all."""

import numpy as np
import pytest
import torch

from us_recon.acoustics.sulci import ball, sulcus_shares, white_body

WIDTH_MM = 3.0
EDGE_MM = 24.0


class Block:
    """A cube of tissue that is painted in millimetres; grey matter where nothing else is said."""

    def __init__(self, spacing_mm: float) -> None:
        count = round(EDGE_MM / spacing_mm)
        self.spacing_mm = np.full(3, spacing_mm)
        middles = (np.arange(count) + 0.5) * spacing_mm
        self.x, self.y, self.z = np.meshgrid(middles, middles, middles, indexing="ij")
        self.shares = np.zeros((3, count, count, count), np.float32)
        self.shares[1] = 1.0

    def paint(self, tissue: int, where: np.ndarray, share: float = 1.0) -> None:
        """Fill voxels with fluid (0) or white matter (2); the rest of them is grey."""
        self.shares[:, where] = 0.0
        self.shares[tissue, where] = share
        self.shares[1, where] += 1.0 - share

    def sulci(self) -> np.ndarray:
        """Return what of fluid, grey and white matter is a sulcus."""
        known = np.ones(self.x.shape, bool)
        parts = [torch.from_numpy(each.reshape(-1)) for each in self.shares]
        found = sulcus_shares(*parts, known, self.spacing_mm, WIDTH_MM)
        return np.moveaxis(found.numpy().reshape(*self.x.shape, 3), -1, 0)


@pytest.fixture(params=[0.5, 1.0], ids=["half_mm", "one_mm"])
def block(request: pytest.FixtureRequest) -> Block:
    """White matter below, with a softer rim."""
    made = Block(request.param)
    made.paint(2, made.x < 8.0)
    made.paint(2, (made.x > 8.0) & (made.x < 8.0 + request.param), 0.4)
    return made


def test_white_matter_that_hangs_on_none_is_a_sulcus(block: Block) -> None:
    sheet = (block.x > 13.0) & (block.x < 14.0)
    block.paint(2, sheet, 0.8)
    _, _, veiled = block.sulci()
    np.testing.assert_allclose(veiled[sheet], 0.8)
    assert (veiled[~sheet] == 0.0).all()


def test_a_blade_of_a_gyrus_stays_white(block: Block) -> None:
    blade = (np.abs(block.y - 12.0) < 1.0) & (block.x < 16.0)
    block.paint(2, blade)
    fluid, grey, veiled = block.sulci()
    assert (veiled == 0.0).all()
    # Beside it cortex is as thin as elsewhere.
    assert (grey[(block.x < 16.0) & (np.abs(block.y - 12.0) < 3.0)] == 0.0).all()
    assert (fluid == 0.0).all()


def test_a_lump_is_no_white_matter_of_its_own(block: Block) -> None:
    lump = (
        (np.abs(block.x - 16) < 3.0) & (np.abs(block.y - 12) < 3.0) & (np.abs(block.z - 12) < 3.0)
    )
    block.paint(2, lump)  # 216 mm3
    assert (block.sulci()[2][lump] == 1.0).all()


def test_a_blade_stays_white_whichever_way_it_runs() -> None:
    block = Block(0.5)
    block.paint(2, block.x < 8.0)
    blade = (np.abs(block.y - block.x) < 1.0 * np.sqrt(2.0)) & (block.x < 18.0)
    block.paint(2, blade)  # 2 mm thick, at 45 degrees
    veiled = block.sulci()[2]
    inner = blade & (block.x > 9.0) & (block.x < 17.0) & (np.abs(block.z - 12.0) < 11.0)
    assert (veiled[inner] == 0.0).all()


def test_a_thin_bridge_to_white_matter_hangs_nothing_on_it(block: Block) -> None:
    sheet = (block.x > 13.0) & (block.x < 14.0)
    block.paint(2, sheet)
    block.paint(2, (block.x < 14.0) & (np.abs(block.y - 12.0) < 0.5) & (np.abs(block.z - 12) < 0.5))
    _, _, veiled = block.sulci()
    assert (veiled[sheet] == 1.0).all()


def test_where_two_banks_touch_there_is_a_sulcus(block: Block) -> None:
    block.paint(2, block.x > 15.0)  # grey from about 8 to 15: two cortices of 3.5 mm
    _, between, _ = block.sulci()
    middle = np.abs(block.x - 11.5) < block.spacing_mm[0] + 0.01
    np.testing.assert_allclose(between[middle], 0.5, atol=0.05)
    near = (block.x < 9.9) | (block.x > 13.1)
    assert (between[near] == 0.0).all()


def test_deep_grey_matter_is_none(block: Block) -> None:
    block.paint(2, block.x > 0.0)
    away = np.sqrt((block.x - 12) ** 2 + (block.y - 12) ** 2 + (block.z - 12) ** 2)
    block.paint(2, away < 8.0, 0.0)
    assert block.shares[1].max() == 1.0
    _, between, _ = block.sulci()
    assert (between == 0.0).all()


def test_narrow_fluid_is_a_sulcus_and_wide_fluid_is_none(block: Block) -> None:
    narrow, wide = np.abs(block.y - 6.0) < 1.0, np.abs(block.y - 17.0) < 4.0
    for where in (narrow, wide):
        block.paint(0, where & (block.x > 13.0))
    fluid, _, _ = block.sulci()
    inner = (block.x > 16.0) & (block.x < 22.0)
    assert (fluid[narrow & inner] > 0.9).all()
    assert (fluid[(np.abs(block.y - 17.0) < 2.0) & inner] < 0.05).all()
    # As narrow, but between white matter: a ventricle's horn.
    horn = Block(block.spacing_mm[0])
    horn.paint(2, horn.x > 0.0)
    horn.paint(0, narrow)
    assert (horn.sulci()[0][narrow & inner] == 0.0).all()


def test_without_white_matter_nothing_hidden_is_told() -> None:
    block = Block(1.0)
    block.paint(2, (block.x > 13.0) & (block.x < 14.0))  # all of it thin
    _, between, veiled = block.sulci()
    assert (between == 0.0).all()
    assert (veiled == 0.0).all()
    assert not white_body(block.shares[2] > 0.5, block.spacing_mm).any()
    block.paint(2, block.x > 0.0)  # and nothing else
    assert all((part == 0.0).all() for part in block.sulci())


def test_what_is_white_far_from_the_brain_is_no_sulcus(block: Block) -> None:
    far = (block.x > 22.0) & (block.x < 23.0)  # muscle, say
    block.paint(2, far)
    _, _, veiled = block.sulci()
    assert (veiled[far] == 0.0).all()


@pytest.mark.parametrize(
    ("spacing_mm", "shape", "count"),
    [
        ((0.5, 0.5, 0.5), (4, 4, 4), 32),
        ((0.7, 0.7, 0.7), (3, 3, 3), 19),
        ((1.0, 1.0, 1.0), (2, 2, 2), 8),
        ((1.3, 1.3, 1.3), (2, 2, 2), 8),
        ((1.0, 1.0, 5.0), (2, 2, 1), 4),
    ],
)
def test_a_ball_is_never_empty(
    spacing_mm: tuple[float, ...], shape: tuple[int, ...], count: int
) -> None:
    made = ball(2.0, np.array(spacing_mm))
    assert made.shape == shape
    assert made.sum() == count
