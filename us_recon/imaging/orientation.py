"""Image orientation codes of PLUS, normalised to MF.

The first letter tells where +column points, the second where +row points: M/U to the marked or
unmarked side of the probe, F/N far from or near to it, A/D along ascending or descending slices.
A third letter, for a stack of images, does not change a single one. `MF` is the usual B-mode
picture. (PLUS documentation, "Ultrasound image orientation".)
"""

import numpy as np
from jaxtyping import Shaped

from us_recon.errors import InputError

_OPPOSITE = {"M": "U", "U": "M", "F": "N", "N": "F"}


def check_orientation(code: str) -> None:
    """Accept an orientation code that one image plane can have.

    Raises:
        InputError: The code does not name a lateral and a depth axis, in either order.
    """
    plane, third = code[:2].upper(), code[2:].upper()
    lateral = sum(letter in "MU" for letter in plane)
    depth = sum(letter in "FN" for letter in plane)
    if lateral != 1 or depth != 1 or third not in ("", "A", "D"):
        raise InputError(
            f"orientation code is {code!r}; expected one of M/U and one of F/N, then "
            "nothing, A or D, such as 'MF', 'UF' or 'MFA'"
        )


def normalise_orientation(
    image: Shaped[np.ndarray, "rows columns"], code: str
) -> Shaped[np.ndarray, "rows_mf columns_mf"]:
    """Return a view of the image in MF orientation.

    Args:
        image: Image as it arrived, (rows, columns) or, for transposed codes, (columns, rows).
        code: Its orientation code, e.g. ``"UF"`` for an image mirrored left to right.

    Raises:
        InputError: The code is not known.
    """
    check_orientation(code)
    column_axis, row_axis = code[0].upper(), code[1].upper()
    if column_axis in "FN":
        image, column_axis, row_axis = image.T, row_axis, column_axis
    if column_axis == _OPPOSITE["M"]:
        image = image[:, ::-1]
    if row_axis == _OPPOSITE["F"]:
        image = image[::-1, :]
    return image
