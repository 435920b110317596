import numpy as np
import pytest

from us_recon.errors import InputError
from us_recon.imaging.orientation import normalise_orientation

# Marked side at the right, near at the top: the picture that MF stands for.
MF = np.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("code", "arrived"),
    [
        ("MF", [[1, 2, 3], [4, 5, 6]]),
        ("MFA", [[1, 2, 3], [4, 5, 6]]),
        ("UF", [[3, 2, 1], [6, 5, 4]]),
        ("MN", [[4, 5, 6], [1, 2, 3]]),
        ("UN", [[6, 5, 4], [3, 2, 1]]),
        ("FM", [[1, 4], [2, 5], [3, 6]]),  # columns run to depth, rows to the marked side
        ("NU", [[6, 3], [5, 2], [4, 1]]),
    ],
)
def test_every_code_becomes_mf(code: str, arrived: list[list[int]]) -> None:
    np.testing.assert_array_equal(normalise_orientation(np.array(arrived), code), MF)


@pytest.mark.parametrize("code", ["", "M", "MM", "FN", "XX", "MFX"])
def test_unknown_codes_are_refused(code: str) -> None:
    with pytest.raises(InputError, match="orientation code"):
        normalise_orientation(MF, code)
