"""What an MRI contrast is expected to show: the order and spacing of the tissues' intensities."""

from dataclasses import dataclass
from types import MappingProxyType

from us_recon.errors import InputError


@dataclass(frozen=True)
class Contrast:
    """A kind of MRI.

    Positions are on a scale on which the darkest of cerebrospinal fluid, grey and white matter is 0
    and the brightest 1, whatever gain and offset the scanner used.

    Attributes:
        order: The three tissues from dark to bright.
        middle: Expected position of the middle one, 0 to 1.
        background: Expected position of air and bone.
    """

    order: tuple[str, str, str]
    middle: float
    background: float


CONTRASTS = MappingProxyType(
    {
        "t1": Contrast(("csf", "grey_matter", "white_matter"), 0.7, -0.4),
        "t2": Contrast(("white_matter", "grey_matter", "csf"), 0.25, -0.45),
        "flair": Contrast(("csf", "white_matter", "grey_matter"), 0.76, -0.2),
    }
)
"""Positions from what such images show; set by us."""

BRAIN_TISSUES = ("csf", "grey_matter", "white_matter")


def contrast_of(name: str) -> Contrast:
    """Return a contrast by its name.

    Raises:
        InputError: It is unknown; the message lists the names.
    """
    if name not in CONTRASTS:
        raise InputError(
            f"the contrast is {name!r}; expected one of {', '.join(CONTRASTS)} "
            "(a contrast-enhanced T1 counts as t1)"
        )
    return CONTRASTS[name]
