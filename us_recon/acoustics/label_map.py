"""Labelled volumes to acoustic properties: the user says what each label is."""

from collections.abc import Mapping

import numpy as np

from us_recon.acoustics.mixing import acoustic_volume, properties_of
from us_recon.acoustics.tissues import TISSUES
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

MOST_LABELS = 256


def acoustic_volume_from_labels(labels: Volume, names: Mapping[int, str]) -> AcousticVolume:
    """Return the acoustic properties of a segmentation.

    Args:
        labels: Whole numbers; NaN and labels named "unknown" are unknown.
        names: The tissue of each label, a name of `us_recon.acoustics.tissues.TISSUES`, or
            "unknown".

    Raises:
        InputError: The values are no labels, a label has no name, or a name is not in the table.
    """
    wrong = sorted({name for name in names.values() if name not in TISSUES and name != "unknown"})
    if wrong:
        raise InputError(
            f"tissues {', '.join(wrong)} are not in the table; expected unknown or one of "
            f"{', '.join(sorted(TISSUES))}"
        )
    finite = np.isfinite(labels.data)
    if not finite.any():
        raise InputError("the labels are NaN everywhere; expected whole numbers")
    present = np.unique(labels.data[finite])
    if len(present) > MOST_LABELS or np.any(present != np.round(present)):
        raise InputError(
            f"the volume holds {len(present)} different values such as {present[0]:g} and "
            f"{present[-1]:g}; expected labels, whole numbers"
        )
    found = [int(value) for value in present]
    nameless = [label for label in found if label not in names]
    if nameless:
        raise InputError(
            f"labels {', '.join(map(str, nameless))} have no tissue; name each of "
            f"{', '.join(map(str, found))}, as unknown or one of {', '.join(sorted(TISSUES))}"
        )
    numbers = np.searchsorted(present, np.where(finite, labels.data, present[0]))
    unknown = np.array([names[label] == "unknown" for label in found])
    tissues = ["water" if names[label] == "unknown" else names[label] for label in found]
    table = properties_of(tissues).numpy()
    return acoustic_volume(table[numbers], finite & ~unknown[numbers], labels.T_space_index)
