"""The picture shows the image beside its properties."""

import numpy as np
import torch

from us_recon.acoustics.volume import AcousticVolume
from us_recon.evaluation.acoustic_picture import acoustic_picture
from us_recon.imaging.volume import Volume


def test_all_four_columns_show_something_and_the_unknown_is_white() -> None:
    ramp = torch.linspace(0.0, 1.0, 20)[:, None, None].expand(20, 24, 28).clone()
    inside = torch.ones_like(ramp)
    inside[:, :10] = 0.0
    volume = AcousticVolume(1.5 + 0.2 * ramp, ramp, 3.0 * ramp, inside, np.eye(4))
    picture = acoustic_picture(Volume(ramp.numpy(), np.eye(4)), volume, "t1")
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    quarters = np.array_split(picture, 4, axis=1)
    dark = [(quarter.min(axis=2) < 200).mean() for quarter in quarters]
    assert min(dark) > 0.1
    assert (picture.min(axis=2) == 255).mean() > 0.2
