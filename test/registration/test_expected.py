"""The expected image."""

import numpy as np

from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.channels import MriChannels, make_channels
from us_recon.registration.expected import expected_image
from us_recon.registration.settings import RegistrationSettings


def test_at_the_truth_it_equals_the_measured_image(
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    frame = frames[2]
    image, known = expected_image(frame, channels, T_world_mri, settings)
    middle = np.zeros_like(known)
    middle[4:-4, 4:-4] = True  # patches at the rim are not full
    assert known[middle].all()
    error = image[middle].astype(float) - frame.image[middle]
    assert np.abs(error).mean() < 1.5 < 0.2 * frame.image[middle].std()


def test_elsewhere_it_does_not(
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    moved = T_world_mri.copy()
    moved[:3, 3] += 4.0
    frame = frames[2]
    image, known = expected_image(frame, channels, moved, settings)
    assert np.abs(image[known].astype(float) - frame.image[known]).mean() > 5.0


def test_outside_the_mri_nothing_is_expected(
    frames: list[TrackedFrame],
    volume: Volume,
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    # The MRI is cut off at x = 0: in the middle frame, that is its column 29 or 30.
    half = make_channels(Volume(volume.data[:22], volume.T_space_index), settings)
    image, known = expected_image(frames[2], half, T_world_mri, settings)
    assert known[10:-10, 4:24].all()
    assert not known[:, 30:].any() and not image[:, 30:].any()
    far = T_world_mri.copy()
    far[0, 3] += 300.0
    image, known = expected_image(frames[2], half, far, settings)
    assert not known.any() and not image.any()


def test_where_the_frame_is_dark_nothing_is_expected(
    frames: list[TrackedFrame],
    channels: MriChannels,
    settings: RegistrationSettings,
    T_world_mri: np.ndarray,
) -> None:
    shadowed = frames[2].image.copy()
    shadowed[:, :20] = 0
    frame = TrackedFrame(0, shadowed, frames[2].T_world_transducer, frames[2].geometry)
    image, known = expected_image(frame, channels, T_world_mri, settings)
    assert not image[:, :17].any() and known[10:-10, 24:-4].all()
    black = TrackedFrame(
        0, np.zeros_like(shadowed), frames[2].T_world_transducer, frames[2].geometry
    )
    assert not expected_image(black, channels, T_world_mri, settings)[1].any()
