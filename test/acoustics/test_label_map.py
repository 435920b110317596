"""Labels become the tissues that the user names."""

import numpy as np
import pytest

from us_recon.acoustics.label_map import acoustic_volume_from_labels
from us_recon.acoustics.tissues import TISSUES
from us_recon.errors import InputError
from us_recon.imaging.volume import Volume

LABELS = Volume(np.tile(np.float32([0, 3, 7])[:, None, None], (1, 2, 2)), np.eye(4))


def test_each_label_gets_its_tissue() -> None:
    made = acoustic_volume_from_labels(LABELS, {0: "unknown", 3: "liver", 7: "blood"})
    liver, blood = TISSUES["liver"], TISSUES["blood"]
    assert made.inside[:, 0, 0].tolist() == [0.0, 1.0, 1.0]
    assert made.scatter[:, 0, 0].tolist() == pytest.approx(
        [liver.scatter, liver.scatter, blood.scatter]
    )
    assert made.impedance_mrayl[2, 1, 1] == pytest.approx(blood.impedance_mrayl)


def test_a_label_without_a_tissue_is_named() -> None:
    with pytest.raises(InputError, match=r"labels 3, 7 have no tissue.*grey_matter"):
        acoustic_volume_from_labels(LABELS, {0: "air"})


def test_an_unknown_tissue_is_named() -> None:
    with pytest.raises(InputError, match=r"tissues gray are not in the table.*grey_matter"):
        acoustic_volume_from_labels(LABELS, {0: "air", 3: "gray", 7: "csf"})


def test_an_image_is_no_segmentation() -> None:
    image = Volume(LABELS.data + np.float32(0.5), LABELS.T_space_index)
    with pytest.raises(InputError, match="whole numbers"):
        acoustic_volume_from_labels(image, {0: "air"})
